/*===- nsa-c/runtime.h - Load and launch bundles, from C ----------*- C -*-===*\
|*                                                                            *|
|* Part of the nsa project, under the Apache License v2.0 with LLVM           *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|*===----------------------------------------------------------------------===*|
|*                                                                            *|
|* The C ABI of libnsa_runtime: load a compiled step (docs/Bundle.md), check  *|
|* arrays against it once, launch it often. Needs no LLVM and no CUDA         *|
|* headers; the CUDA driver is looked for when CUDA arrays first show up.     *|
|*                                                                            *|
|* Errors. Every function that can fail returns an nsa_status; the message of *|
|* the last failure on the calling thread is nsa_last_error(). When a launch  *|
|* fails its checks, nothing is launched and nothing is written.              *|
|*                                                                            *|
|* Ownership. Whoever gets a handle destroys it. A binding keeps what it      *|
|* needs of its step; arrays stay the caller's and must outlive the binding   *|
|* and the work launched from it. Strings that a function returns belong to   *|
|* the handle they were asked of.                                             *|
|*                                                                            *|
|* Threads. A step may be used from any number of threads at once. A binding  *|
|* may be launched from any thread, by one thread at a time.                  *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef NSA_C_RUNTIME_H
#define NSA_C_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#include "nsa-c/types.h"

#ifndef NSA_RUNTIME_API
#if defined(_WIN32)
#define NSA_RUNTIME_API
#else
#define NSA_RUNTIME_API __attribute__((visibility("default")))
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Where an array lives: DLPack's numbers. Pinned host memory counts as CPU,
 * managed memory as CUDA. */
enum {
  NSA_DEVICE_CPU = 1,
  NSA_DEVICE_CUDA = 2,
  NSA_DEVICE_CUDA_HOST = 3,
  NSA_DEVICE_CUDA_MANAGED = 13
};

/* Type codes of array elements: DLPack's numbers. */
enum {
  NSA_DTYPE_INT = 0,
  NSA_DTYPE_UINT = 1,
  NSA_DTYPE_FLOAT = 2,
  NSA_DTYPE_BFLOAT = 4,
  NSA_DTYPE_COMPLEX = 5,
  NSA_DTYPE_BOOL = 6,
  NSA_DTYPE_FLOAT8_E4M3FN = 10,
  NSA_DTYPE_FLOAT8_E5M2 = 12,
  NSA_DTYPE_FLOAT8_E8M0FNU = 14
};

/* Flags of an array. */
enum {
  /* Must not be written: accepted for `in` arguments only. */
  NSA_ARRAY_READ_ONLY = 1
};

/* A strided array, described by its owner. */
typedef struct nsa_array {
  /* Address of element 0 (any byte offset already added). May be null when the
   * array has no elements. */
  void *data;
  /* NSA_DEVICE_*. */
  int32_t device_type;
  /* Ordinal of the CUDA device; -1 asks the driver who owns `data`. Ignored
   * for CPU arrays. */
  int32_t device_id;
  /* NSA_DTYPE_* and the bits of one element. */
  uint8_t dtype_code;
  uint8_t dtype_bits;
  /* NSA_ARRAY_*. */
  uint16_t flags;
  int32_t ndim;
  /* ndim entries, in elements. Read during the call only. */
  const int64_t *shape;
  /* ndim entries, in elements; null means contiguous (row-major). */
  const int64_t *strides;
} nsa_array;

/* One argument by name: an array, or a size when `array` is null. */
typedef struct nsa_argument {
  const char *name;
  const nsa_array *array;
  int64_t size;
} nsa_argument;

/* A kernel on the host: parameters[i] points at the 8 bytes of parameter i. */
typedef void (*nsa_host_fn)(void **parameters);

typedef struct nsa_host_kernel {
  /* The kernel's name in the manifest. Of a step with guards there is one more,
   * under the name of the manifest's guards.buffer: the address of that. */
  const char *name;
  nsa_host_fn function;
} nsa_host_kernel;

typedef struct nsa_step nsa_step;
typedef struct nsa_bundle nsa_bundle;
typedef struct nsa_binding nsa_binding;
typedef struct nsa_graph_node nsa_graph_node;

/* In the place of a size: keep the value of bind time. */
#define NSA_SIZE_AS_BOUND INT64_MIN

/*===-- Errors and versions
 * ------------------------------------------------===*/

/* The message of the last failure on this thread, "" before the first. Valid
 * until the next failure on this thread. Never null. */
NSA_RUNTIME_API const char *nsa_last_error(void);

/* The name of the argument that this failure is about, "" if it is about none.
 * Valid as long as the message. Never null. */
NSA_RUNTIME_API const char *nsa_last_error_argument(void);

/* "NSA_OK", "NSA_INVALID_ARGUMENT", ... Never null. */
NSA_RUNTIME_API const char *nsa_status_name(nsa_status status);

/* The manifest schema that this library reads. */
NSA_RUNTIME_API int32_t nsa_manifest_schema(void);

/* Whether CUDA arrays can be launched on here: NSA_OK, NSA_NO_DRIVER or
 * NSA_NO_DEVICE, with `*count` devices (may be null). */
NSA_RUNTIME_API nsa_status nsa_device_count(int32_t *count);

/* Whether the environment variable NSA_TARGET lets steps run on `target`; both
 * are "cuda", "cpu" or "simt", the simulator of the Python package: NSA_OK, or
 * NSA_NO_KERNEL if it names another one. Unset or empty it restricts nothing;
 * anything else is NSA_INVALID_ARGUMENT. Binding and loading ask this
 * themselves: arrays of another target are refused, and never sent
 * elsewhere. */
NSA_RUNTIME_API nsa_status nsa_check_target(const char *target);

/*===-- Steps
 * --------------------------------------------------------------===*/

/* Makes a step from its manifest (JSON, `manifest_size` bytes).
 *
 * `image` is PTX text or a cubin of `image_size` bytes, or null. It is copied,
 * and loaded on a device no sooner than something is bound there.
 * `host_kernels` names one function for each kernel of the manifest, or is null
 * with a count of 0. The functions must stay loaded as long as the step and its
 * bindings live. */
NSA_RUNTIME_API nsa_status nsa_step_create(const char *manifest,
                                           size_t manifest_size,
                                           const void *image, size_t image_size,
                                           const nsa_host_kernel *host_kernels,
                                           size_t num_host_kernels,
                                           nsa_step **step);

/* Null is fine. Bindings made from the step stay usable. */
NSA_RUNTIME_API void nsa_step_destroy(nsa_step *step);

NSA_RUNTIME_API const char *nsa_step_name(const nsa_step *step);
/* The manifest as it was given. */
NSA_RUNTIME_API const char *nsa_step_manifest(const nsa_step *step);
/* The chip it was compiled for, "" if the manifest does not say. */
NSA_RUNTIME_API const char *nsa_step_chip(const nsa_step *step);
/* PTX or cubin; null if there is none. `size` may be null. */
NSA_RUNTIME_API const void *nsa_step_image(const nsa_step *step, size_t *size);
/* 1 if the step runs on CPU arrays. */
NSA_RUNTIME_API int32_t nsa_step_has_host_kernels(const nsa_step *step);

NSA_RUNTIME_API size_t nsa_step_num_kernels(const nsa_step *step);
/* Null if `index` is out of range. */
NSA_RUNTIME_API const char *nsa_step_kernel_name(const nsa_step *step,
                                                 size_t index);

typedef struct nsa_argument_info {
  const char *name;
  nsa_argument_kind kind;
  /* "int32", ...; "" for a size. */
  const char *dtype;
  int32_t ndim;
  /* Whether it may be left out: nothing is written there then. */
  int32_t is_optional;
} nsa_argument_info;

NSA_RUNTIME_API size_t nsa_step_num_arguments(const nsa_step *step);
NSA_RUNTIME_API nsa_status nsa_step_argument(const nsa_step *step, size_t index,
                                             nsa_argument_info *info);

/* Size arguments in manifest order: what nsa_binding_launch counts by. */
NSA_RUNTIME_API size_t nsa_step_num_sizes(const nsa_step *step);
/* Null if `index` is out of range. */
NSA_RUNTIME_API const char *nsa_step_size_name(const nsa_step *step,
                                               size_t index);

/* Loads the step's kernels on a device ahead of the first bind there. */
NSA_RUNTIME_API nsa_status nsa_step_load(const nsa_step *step,
                                         int32_t device_id);

/*===-- Guards
 * -------------------------------------------------------------===*/

/* What nsa_step_check_accesses answers where there were wrong accesses. No
 * launch does, so it is not among the statuses that generated headers have. */
#define NSA_WRONG_ACCESS ((nsa_status)12)

/* An access that a kernel with guards has skipped: outside of its array, or a
 * store to a computed place where another element of the launch had gone.
 * Strings belong to the step. */
typedef struct nsa_access {
  const char *kernel;
  /* The operation, as in "nsa.copy", and where the text has it:
   * FILE:LINE:COLUMN, or "". */
  const char *op;
  const char *location;
  const char *argument;
  /* 1 for a store, which did nothing; a load gave 0. */
  int32_t is_store;
  /* Which of the argument's dimensions it left, at which index; its size. Of a
   * place that was taken, the last dimension. */
  int32_t dim;
  int64_t index;
  int64_t bound;
  /* Of the grid and of the block; -1 on the host. */
  int64_t block;
  int64_t thread;
  /* 1 for a store to a place that was taken. */
  int32_t is_taken;
  /* The index in dimension 0 of a place in two dimensions, else -1. */
  int64_t row;
} nsa_access;

/* Whether the kernels of a step that was compiled with guards made a wrong
 * access since this was last asked: NSA_OK, or NSA_WRONG_ACCESS with the first
 * one in nsa_last_error. NSA_INVALID_ARGUMENT for a step without guards.
 *
 * `accesses` (may be null) has room for `capacity` of them, of which
 * `*num_accesses` are filled; `*count` is how many there were. Both may be
 * null. A step's kernels record 64 on each device, and count the others.
 * Whatever is not asked for is forgotten: a second call answers NSA_OK.
 *
 * `*unclaimed` (may be null) is how many elements went to computed places of
 * which it is not known whether others of the launch went there as well: a
 * launch remembers up to 65,536 places of each array, and none while another
 * launch of the same kernels runs.
 *
 * Waits for all work of the devices on which the step is loaded, in this
 * thread's contexts, so no launch asks. Not while a stream is captured; replays
 * of a captured launch record as the launch would. Steps of the same image
 * share their records, which those of launches that run meanwhile may miss. */
NSA_RUNTIME_API nsa_status nsa_step_check_accesses(
    const nsa_step *step, nsa_access *accesses, size_t capacity,
    size_t *num_accesses, uint64_t *count, uint64_t *unclaimed);

/* The same of `size` bytes that were copied from the global guards.buffer of
 * the manifest, for kernels that the caller runs by other means. */
NSA_RUNTIME_API nsa_status nsa_step_check_records(
    const nsa_step *step, const void *buffer, size_t size, nsa_access *accesses,
    size_t capacity, size_t *num_accesses, uint64_t *count,
    uint64_t *unclaimed);

/*===-- Bundles
 * ------------------------------------------------------------===*/

/* Loads every step of a directory: each NAME.json with the PTX that it names.
 * The steps come in the order of their names. */
NSA_RUNTIME_API nsa_status nsa_bundle_load(const char *directory,
                                           nsa_bundle **bundle);
/* Null is fine. Takes the bundle's steps with it, not their bindings. */
NSA_RUNTIME_API void nsa_bundle_destroy(nsa_bundle *bundle);
NSA_RUNTIME_API size_t nsa_bundle_num_steps(const nsa_bundle *bundle);
/* The bundle keeps the step. Null if `index` is out of range. */
NSA_RUNTIME_API const nsa_step *nsa_bundle_step(const nsa_bundle *bundle,
                                                size_t index);
/* The step of that name, or null. */
NSA_RUNTIME_API const nsa_step *nsa_bundle_find(const nsa_bundle *bundle,
                                                const char *name);

/*===-- Bindings
 * -----------------------------------------------------------===*/

/* Checks arrays against the step once and keeps what launching needs.
 *
 * Every array argument must be there, in any order. Size arguments may be:
 * those left out take the size of the dimensions that name them, and what is
 * known neither so nor so is to be given at launch. CUDA arrays load the step's
 * kernels on their device, if that has not happened yet. */
NSA_RUNTIME_API nsa_status nsa_step_bind(const nsa_step *step,
                                         const nsa_argument *arguments,
                                         size_t num_arguments,
                                         nsa_binding **binding);

/* Null is fine. Work launched before goes on. */
NSA_RUNTIME_API void nsa_binding_destroy(nsa_binding *binding);

/* Launches every kernel of the step on `stream` (a CUstream; null is the legacy
 * default stream; ignored for CPU arrays, whose kernels run in this call).
 *
 * `sizes` holds nsa_step_num_sizes() values in manifest order, each of them a
 * size in [0, 2^31-1] or NSA_SIZE_AS_BOUND; null keeps them all. Allocates
 * nothing, synchronises with nothing, is legal while the stream is being
 * captured. A grid without blocks is not launched. */
NSA_RUNTIME_API nsa_status nsa_binding_launch(nsa_binding *binding,
                                              const int64_t *sizes,
                                              void *stream);

/* A launch, as nsa_binding_launch does it, on a stream that is being captured,
 * with the nodes that it makes in the graph. `sizes` have to give each kernel
 * blocks: the greatest ones that are to come. CUDA 12.3 or later. The graph has
 * to outlive the use of its nodes. */
NSA_RUNTIME_API nsa_status nsa_binding_capture(nsa_binding *binding,
                                               const int64_t *sizes,
                                               void *stream,
                                               nsa_graph_node **node);

/* Gives the nodes in `graph_exec` (a CUgraphExec made from the graph) the
 * arrays of `binding`, the one that was captured or another one of its step,
 * and `sizes`, checked as nsa_binding_launch does. Launches of `graph_exec`
 * that were made before keep theirs. On failed checks it stays as it is. */
NSA_RUNTIME_API nsa_status nsa_binding_update(nsa_binding *binding,
                                              const nsa_graph_node *node,
                                              void *graph_exec,
                                              const int64_t *sizes);

/* Null is fine. The graph stays as it is. */
NSA_RUNTIME_API void nsa_graph_node_destroy(nsa_graph_node *node);

/* The device of the arrays: NSA_DEVICE_CPU or NSA_DEVICE_CUDA, and its ordinal
 * (0 for CPU). Either pointer may be null. */
NSA_RUNTIME_API void nsa_binding_device(const nsa_binding *binding,
                                        int32_t *device_type,
                                        int32_t *device_id);

/* Checks arrays as nsa_step_bind does, for kernels that the caller runs by
 * other means: needs none here and loads nothing. nsa_binding_launch answers
 * NSA_NO_KERNEL. */
NSA_RUNTIME_API nsa_status nsa_step_check(const nsa_step *step,
                                          const nsa_argument *arguments,
                                          size_t num_arguments,
                                          nsa_binding **binding);

/* What a launch makes of one kernel. */
typedef struct nsa_kernel_launch {
  const char *name;
  /* 0 for a grid that is not launched. */
  int64_t blocks;
  /* The 8 bytes of each parameter. */
  const int64_t *parameters;
  size_t num_parameters;
} nsa_kernel_launch;

/* Checks `sizes` as nsa_binding_launch does, and launches nothing. */
NSA_RUNTIME_API nsa_status nsa_binding_prepare(nsa_binding *binding,
                                               const int64_t *sizes);
/* The step's kernel `index` with the sizes that were last prepared or launched.
 * Pointers belong to the binding, their contents until the next sizes. */
NSA_RUNTIME_API nsa_status nsa_binding_kernel(const nsa_binding *binding,
                                              size_t index,
                                              nsa_kernel_launch *launch);
/* The array of the step's argument `index`: where it is, its shape and strides,
 * the bits of an element. Of a size, ndim 0 and no data. */
NSA_RUNTIME_API nsa_status nsa_binding_array(const nsa_binding *binding,
                                             size_t index, nsa_array *array);

/* Bind and launch in one. */
NSA_RUNTIME_API nsa_status nsa_step_launch(const nsa_step *step,
                                           const nsa_argument *arguments,
                                           size_t num_arguments, void *stream);

#ifdef __cplusplus
}
#endif

#endif /* NSA_C_RUNTIME_H */
