/* In a build without nghttp2: nobody makes a session, so that nothing here is ever reached. */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FASTLB_HAS_H2 0
typedef struct nghttp2_session nghttp2_session;
typedef struct nghttp2_session_callbacks nghttp2_session_callbacks;
typedef struct nghttp2_option nghttp2_option;
typedef struct { uint8_t *name, *value; size_t namelen, valuelen; uint8_t flags; } nghttp2_nv;
typedef struct { size_t length; int32_t stream_id; uint8_t type, flags; } nghttp2_frame_hd;
typedef struct { nghttp2_frame_hd hd; int cat; } nghttp2_headers;
typedef struct { nghttp2_frame_hd hd; uint8_t opaque_data[8]; } nghttp2_ping;
typedef union { nghttp2_frame_hd hd; nghttp2_headers headers; nghttp2_ping ping; } nghttp2_frame;
typedef struct { int32_t settings_id; uint32_t value; } nghttp2_settings_entry;
typedef union { int fd; void *ptr; } nghttp2_data_source;
typedef struct {
    nghttp2_data_source source;
    ssize_t (*read_callback)(nghttp2_session *, int32_t, uint8_t *, size_t, uint32_t *,
                             nghttp2_data_source *, void *);
} nghttp2_data_provider;
#define NGHTTP2_DATA 1
#define NGHTTP2_HEADERS 2
#define NGHTTP2_PRIORITY 3
#define NGHTTP2_RST_STREAM 4
#define NGHTTP2_SETTINGS 5
#define NGHTTP2_PING 6
#define NGHTTP2_GOAWAY 7
#define NGHTTP2_WINDOW_UPDATE 8
#define NGHTTP2_FLAG_NONE 9
#define NGHTTP2_FLAG_END_STREAM 10
#define NGHTTP2_FLAG_ACK 11
#define NGHTTP2_HCAT_REQUEST 12
#define NGHTTP2_NV_FLAG_NONE 13
#define NGHTTP2_FLAG_END_HEADERS 27
#define NGHTTP2_CONTINUATION 28
#define NGHTTP2_STREAM_CLOSED 29
#define NGHTTP2_DATA_FLAG_NO_END_STREAM 99
#define NGHTTP2_ERR_FLOODED 98
#define NGHTTP2_ERR_NOMEM 30
#define NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE 96
#define NGHTTP2_SETTINGS_ENABLE_PUSH 95
#define NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL 97
#define NGHTTP2_DATA_FLAG_EOF 14
#define NGHTTP2_ERR_DEFERRED 15
#define NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE 16
#define NGHTTP2_ERR_CALLBACK_FAILURE 17
#define NGHTTP2_NO_ERROR 18
#define NGHTTP2_PROTOCOL_ERROR 19
#define NGHTTP2_INTERNAL_ERROR 20
#define NGHTTP2_REFUSED_STREAM 21
#define NGHTTP2_CANCEL 22
#define NGHTTP2_ENHANCE_YOUR_CALM 23
#define NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS 24
#define NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE 25
#define NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE 26
#define nghttp2_session_callbacks_new(...) ((int)0)
#define nghttp2_session_callbacks_set_on_begin_headers_callback(...) ((void)0)
#define nghttp2_session_callbacks_set_on_header_callback(...) ((void)0)
#define nghttp2_session_callbacks_set_on_frame_recv_callback(...) ((void)0)
#define nghttp2_session_callbacks_set_on_begin_frame_callback(...) ((void)0)
#define nghttp2_session_callbacks_set_on_data_chunk_recv_callback(...) ((void)0)
#define nghttp2_session_callbacks_set_on_stream_close_callback(...) ((void)0)
#define nghttp2_session_callbacks_set_on_frame_send_callback(...) ((void)0)
#define nghttp2_option_new(...) ((int)0)
#define nghttp2_option_set_no_auto_window_update(...) ((void)0)
#define nghttp2_option_set_max_outbound_ack(...) ((void)0)
#define nghttp2_option_set_max_settings(...) ((void)0)
#define nghttp2_option_set_no_closed_streams(...) ((void)0)
#define nghttp2_option_set_max_deflate_dynamic_table_size(...) ((void)0)
#define nghttp2_session_server_new2(...) ((int)0)
#define nghttp2_session_client_new2(...) ((int)0)
#define nghttp2_session_get_remote_settings(...) ((uint32_t)0)
#define nghttp2_submit_request(...) ((int32_t)0)
#define nghttp2_session_del(...) ((void)0)
#define nghttp2_session_mem_recv(...) ((ssize_t)0)
#define nghttp2_session_mem_send(...) ((ssize_t)0)
#define nghttp2_session_want_read(...) ((int)0)
#define nghttp2_session_want_write(...) ((int)0)
#define nghttp2_session_resume_data(...) ((int)0)
#define nghttp2_session_consume_connection(...) ((int)0)
#define nghttp2_session_consume_stream(...) ((int)0)
#define nghttp2_session_consume(...) ((int)0)
#define nghttp2_session_set_local_window_size(...) ((int)0)
#define nghttp2_session_get_effective_recv_data_length(...) ((int32_t)0)
#define nghttp2_session_get_effective_local_window_size(...) ((int32_t)0)
#define nghttp2_submit_window_update(...) ((int)0)
#define nghttp2_session_get_last_proc_stream_id(...) ((int32_t)0)
#define nghttp2_session_terminate_session(...) ((int)0)
#define nghttp2_session_get_stream_user_data(...) ((void *)0)
#define nghttp2_session_set_stream_user_data(...) ((int)0)
#define nghttp2_submit_settings(...) ((int)0)
#define nghttp2_submit_response(...) ((int)0)
#define nghttp2_submit_headers(...) ((int32_t)0)
#define nghttp2_submit_trailer(...) ((int)0)
#define nghttp2_submit_rst_stream(...) ((int)0)
#define nghttp2_submit_goaway(...) ((int)0)
#define nghttp2_submit_shutdown_notice(...) ((int)0)
#define nghttp2_submit_ping(...) ((int)0)
#define nghttp2_is_fatal(...) ((int)0)
