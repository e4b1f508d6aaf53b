//===- HeaderHelpers.h - What all generated headers share -------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_TARGET_HEADERHELPERS_H
#define NSA_LIB_TARGET_HEADERHELPERS_H

namespace nsa {

/// Plain C, once per translation unit however many steps it includes.
inline constexpr char headerHelpers[] = R"c(#ifndef NSA_STEP_HELPERS_1
#define NSA_STEP_HELPERS_1

#include <cuda.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An array in device memory; sizes and strides in elements. A 1-D array uses
   the first entry of each. */
typedef struct nsa_array {
  void *data;
  int64_t size[2];
  int64_t stride[2];
} nsa_array;

typedef enum nsa_status {
  NSA_OK = 0,
  NSA_BAD_ARGUMENT = 1, /* a check failed; nothing was launched */
  NSA_DRIVER_ERROR = 2  /* the CUDA driver refused */
} nsa_status;

/* Where an error's text goes. */
typedef struct nsa_message {
  char text[256];
} nsa_message;

#define NSA_ANY INT64_C(-1)
#define NSA_CONTIGUOUS INT64_C(-2)

/* What an array argument has to be. */
typedef struct nsa_port {
  const char *name;
  size_t offset; /* in the argument struct */
  int rank;
  int bytes; /* of an element */
  int alignment; /* bytes that divide the address */
  int is_out;
  int value; /* which one is written to it */
  int64_t size[2];
  int64_t stride[2];
} nsa_port;

/* For b > 0. C rounds towards 0. */
static inline int64_t nsa_floordiv(int64_t a, int64_t b) {
  return a / b - (a % b < 0);
}
static inline int64_t nsa_ceildiv(int64_t a, int64_t b) {
  return a / b + (a % b > 0);
}
static inline int64_t nsa_mod(int64_t a, int64_t b) {
  return a % b + (a % b < 0 ? b : 0);
}

/* The blocks of rows times columns in tiles. A negative size is an empty one;
   what does not fit a grid is INT32_MAX + 1. */
static inline int64_t nsa_blocks(int64_t rows, int64_t tile_rows,
                                 int64_t columns, int64_t tile_columns) {
  int64_t limit = (int64_t)INT32_MAX + 1;
  if (rows <= 0 || columns <= 0)
    return 0;
  rows = nsa_ceildiv(rows, tile_rows);
  columns = nsa_ceildiv(columns, tile_columns);
  return rows > limit / columns ? limit : rows * columns;
}

static inline nsa_status nsa_driver_error(nsa_message *message,
                                          const char *what, CUresult result) {
  const char *text = NULL;
  cuGetErrorString(result, &text);
  snprintf(message->text, sizeof(message->text), "%s: %s", what,
           text ? text : "unknown error");
  return NSA_DRIVER_ERROR;
}

static inline nsa_status nsa_check_size(nsa_message *message, const char *name,
                                        int64_t value) {
  if (value >= 0 && value <= INT32_MAX)
    return NSA_OK;
  snprintf(message->text, sizeof(message->text),
           "argument '%s': expected 0 to 2147483647 but got %lld", name,
           (long long)value);
  return NSA_BAD_ARGUMENT;
}

static inline nsa_status nsa_check_at_least(nsa_message *message,
                                            const char *name, int dim,
                                            int64_t size, int64_t least) {
  if (size >= least)
    return NSA_OK;
  snprintf(message->text, sizeof(message->text),
           "argument '%s': expected at least %lld elements in dimension %d but "
           "got %lld",
           name, (long long)least, dim, (long long)size);
  return NSA_BAD_ARGUMENT;
}

static inline const nsa_array *nsa_get(const nsa_port *port, const void *args) {
  return (const nsa_array *)((const char *)args + port->offset);
}

/* The bytes from *begin to *end that an array reaches. */
static inline void nsa_reach(const nsa_port *port, const nsa_array *array,
                             uintptr_t *begin, uintptr_t *end) {
  int dim;
  *begin = *end = (uintptr_t)array->data;
  for (dim = 0; dim < port->rank; ++dim)
    if (array->size[dim] <= 0)
      return;
  *end += (uintptr_t)port->bytes;
  for (dim = 0; dim < port->rank; ++dim) {
    int64_t reach = (array->size[dim] - 1) * array->stride[dim] * port->bytes;
    if (reach < 0)
      *begin += (uintptr_t)reach;
    else
      *end += (uintptr_t)reach;
  }
}

static inline nsa_status nsa_check_port(nsa_message *message,
                                        const nsa_port *port,
                                        const nsa_array *array) {
  int dim;
  int64_t inner = 1, elements = 1;
  for (dim = port->rank - 1; dim >= 0; --dim) {
    int64_t stride = port->stride[dim];
    if (array->size[dim] < 0 ||
        (port->size[dim] != NSA_ANY && array->size[dim] != port->size[dim])) {
      snprintf(message->text, sizeof(message->text),
               "argument '%s': expected size %lld%s in dimension %d but got "
               "%lld",
               port->name, (long long)(port->size[dim] < 0 ? 0 : port->size[dim]),
               port->size[dim] < 0 ? " or more" : "", dim,
               (long long)array->size[dim]);
      return NSA_BAD_ARGUMENT;
    }
    if (stride == NSA_CONTIGUOUS)
      stride = inner;
    if (stride != NSA_ANY && array->size[dim] > 1 &&
        array->stride[dim] != stride) {
      snprintf(message->text, sizeof(message->text),
               "argument '%s': expected stride %lld in dimension %d but got "
               "%lld",
               port->name, (long long)stride, dim,
               (long long)array->stride[dim]);
      return NSA_BAD_ARGUMENT;
    }
    if (port->is_out && array->size[dim] > 1 &&
        array->stride[dim] < inner && array->stride[dim] > -inner) {
      snprintf(message->text, sizeof(message->text),
               "argument '%s': expected elements that do not overlap, but "
               "stride %lld in dimension %d is too small",
               port->name, (long long)array->stride[dim], dim);
      return NSA_BAD_ARGUMENT;
    }
    inner *= array->size[dim];
    elements *= array->size[dim];
  }
  if (elements > 0 && (!array->data || (uintptr_t)array->data % port->alignment)) {
    snprintf(message->text, sizeof(message->text),
             "argument '%s': expected an address that is a multiple of %d but "
             "got %p",
             port->name, port->alignment, array->data);
    return NSA_BAD_ARGUMENT;
  }
  return NSA_OK;
}

/* Checks every array, and that no array that is written shares memory with
   another one, unless the same value is written to both and they are the very
   same. */
static inline nsa_status nsa_check_ports(nsa_message *message,
                                         const nsa_port *ports, size_t count,
                                         const void *args) {
  size_t i, j;
  for (i = 0; i < count; ++i) {
    nsa_status status = nsa_check_port(message, &ports[i], nsa_get(&ports[i], args));
    if (status != NSA_OK)
      return status;
  }
  for (i = 0; i < count; ++i) {
    for (j = 0; j < i; ++j) {
      const nsa_array *a = nsa_get(&ports[i], args);
      const nsa_array *b = nsa_get(&ports[j], args);
      uintptr_t a_begin, a_end, b_begin, b_end;
      int is_same = ports[i].is_out && ports[j].is_out &&
                    ports[i].value == ports[j].value &&
                    ports[i].rank == ports[j].rank && a->data == b->data &&
                    a->size[0] == b->size[0] && a->stride[0] == b->stride[0] &&
                    (ports[i].rank == 1 || (a->size[1] == b->size[1] &&
                                            a->stride[1] == b->stride[1]));
      if (is_same || (!ports[i].is_out && !ports[j].is_out))
        continue;
      nsa_reach(&ports[i], a, &a_begin, &a_end);
      nsa_reach(&ports[j], b, &b_begin, &b_end);
      if (a_begin < b_end && b_begin < a_end) {
        snprintf(message->text, sizeof(message->text),
                 "arguments '%s' and '%s': expected arrays that do not overlap",
                 ports[j].name, ports[i].name);
        return NSA_BAD_ARGUMENT;
      }
    }
  }
  return NSA_OK;
}

static inline nsa_status nsa_launch(nsa_message *message, CUfunction function,
                                    int64_t blocks, unsigned threads,
                                    CUstream stream, void **params) {
  CUresult result;
  if (blocks == 0)
    return NSA_OK;
  if (blocks > INT32_MAX) {
    snprintf(message->text, sizeof(message->text),
             "expected sizes that give at most 2147483647 blocks");
    return NSA_BAD_ARGUMENT;
  }
  result = cuLaunchKernel(function, (unsigned)blocks, 1, 1, threads, 1, 1, 0,
                          stream, params, NULL);
  if (result != CUDA_SUCCESS)
    return nsa_driver_error(message, "cannot launch", result);
  return NSA_OK;
}

#ifdef __cplusplus
}
#endif

#endif /* NSA_STEP_HELPERS_1 */
)c";

} // namespace nsa

#endif // NSA_LIB_TARGET_HEADERHELPERS_H
