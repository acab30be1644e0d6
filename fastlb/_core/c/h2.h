/* nghttp2, or what stands for it in a build without. */
#ifndef FASTLB_H2_H
#define FASTLB_H2_H

#ifdef FASTLB_H2

#include <nghttp2/nghttp2.h>
#define FASTLB_HAS_H2 1

#else

#include "h2_none.h"

#endif
#endif
