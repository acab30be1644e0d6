/* OpenSSL, or what stands for it in a build without. */
#ifndef FASTLB_TLS_H
#define FASTLB_TLS_H

#ifdef FASTLB_TLS

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#define FASTLB_HAS_TLS 1

#else

#include "tls_none.h"

#endif
#endif
