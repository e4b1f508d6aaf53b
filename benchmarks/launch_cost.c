/*===- launch_cost.c - Host time of a launch, from C --------------*- C -*-===*\
|*                                                                            *|
|* Part of the nsa project, under the Apache License v2.0 with LLVM           *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|*===----------------------------------------------------------------------===*|
|*                                                                            *|
|* A library for launch_cost.py, which builds it and calls it in its own      *|
|* process: the decode replay for three backends, launched with               *|
|* cuLaunchKernel and ready parameters, through its generated header, and     *|
|* through the C ABI. As a module of tvm-ffi it has a function that launches  *|
|* with ready parameters whatever it is given.                                *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#define _POSIX_C_SOURCE 199309L

#include "decode_replay.h"
#include "nsa-c/runtime.h"

#include <stdlib.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

enum { REQUESTS = 1, COLUMNS = 64, MOST = 64 };

static nsa_message message;

static void require(int is_well, const char *what) {
  if (is_well)
    return;
  fprintf(stderr, "%s: %s %s\n", what, message.text, nsa_last_error());
  exit(1);
}

/* The members of the argument struct are the ports, in their order. */
static nsa_view *view_of(decode_replay_args *args, size_t port) {
  return (nsa_view *)(void *)((char *)args + decode_replay_offsets[port]);
}

static void fill(decode_replay_args *args) {
  size_t i;
  args->bs = REQUESTS;
  args->max_len = COLUMNS;
  for (i = 0; i < decode_replay_signature.num_ports; ++i) {
    const nsa_port *port = &decode_replay_ports[i];
    nsa_view *view;
    CUdeviceptr memory;
    if (port->kind == NSA_KIND_SIZE)
      continue;
    view = view_of(args, i);
    /* One row more than requests: of sums, an element. */
    view->size[0] = REQUESTS + 1;
    view->size[1] = port->ndim == 2 ? COLUMNS : 0;
    view->stride[0] = port->ndim == 2 ? COLUMNS : 1;
    view->stride[1] = 1;
    require(cuMemAlloc(&memory, 8 * (REQUESTS + 1) * COLUMNS) == CUDA_SUCCESS,
            "cuMemAlloc");
    require(cuMemsetD8(memory, 0, 8 * (REQUESTS + 1) * COLUMNS) == CUDA_SUCCESS,
            "cuMemsetD8");
    view->data = (void *)memory;
  }
}

static nsa_binding *bind(decode_replay_args *args, const nsa_step *step) {
  static nsa_array arrays[MOST];
  nsa_argument arguments[MOST];
  nsa_binding *binding;
  size_t i, count = 0;
  for (i = 0; i < decode_replay_signature.num_ports; ++i) {
    const nsa_port *port = &decode_replay_ports[i];
    nsa_argument_info info;
    nsa_array *array = &arrays[i];
    if (port->kind == NSA_KIND_SIZE)
      continue;
    require(nsa_step_argument(step, i, &info) == NSA_OK, "an argument");
    array->data = view_of(args, i)->data;
    array->device_type = NSA_DEVICE_CUDA;
    array->dtype_code = NSA_DTYPE_INT;
    array->dtype_bits = (uint8_t)(8 * port->item_size);
    array->ndim = port->ndim;
    array->shape = view_of(args, i)->size;
    array->strides = view_of(args, i)->stride;
    arguments[count].name = info.name;
    arguments[count].array = array;
    arguments[count++].size = 0;
  }
  require(nsa_step_bind(step, arguments, count, &binding) == NSA_OK, "bind");
  return binding;
}

typedef struct ways {
  decode_replay_args args;
  decode_replay_module module;
  nsa_binding *binding;
  CUstream stream;
  int64_t sizes[2];
  void *parameters[MOST];
  unsigned blocks, threads;
} ways;

static void raw(ways *w) {
  require(cuLaunchKernel(w->module.functions[0], w->blocks, 1, 1, w->threads, 1,
                         1, 0, w->stream, w->parameters, NULL) == CUDA_SUCCESS,
          "cuLaunchKernel");
}
static void header(ways *w) {
  require(decode_replay_launch(&w->module, &w->args, w->stream, &message) ==
              NSA_OK,
          "header");
}
static void c_abi(ways *w) {
  require(nsa_binding_launch(w->binding, w->sizes, w->stream) == NSA_OK, "ABI");
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return 1e6 * (double)time.tv_sec + 1e-3 * (double)time.tv_nsec;
}

static const struct {
  const char *name;
  void (*launch)(ways *);
} all[] = {{"raw", raw}, {"header", header}, {"c_abi", c_abi}};
enum { COUNT = sizeof(all) / sizeof(*all) };
static ways w;

/* Gets ready to launch on `stream`, whose context is current. */
EXPORT void launch_cost_begin(const char *folder, void *stream) {
  nsa_bundle *bundle;
  nsa_kernel_launch kernel;
  size_t i;
  w.stream = (CUstream)stream;
  require(nsa_bundle_load(folder, &bundle) == NSA_OK, "the bundle");
  fill(&w.args);
  require(decode_replay_load(&w.module, &message) == NSA_OK, "load");
  w.binding = bind(&w.args, nsa_bundle_step(bundle, 0));
  w.sizes[0] = REQUESTS;
  w.sizes[1] = COLUMNS;
  require(nsa_binding_prepare(w.binding, w.sizes) == NSA_OK &&
              nsa_binding_kernel(w.binding, 0, &kernel) == NSA_OK,
          "prepare");
  w.blocks = (unsigned)kernel.blocks;
  w.threads = 128;
  for (i = 0; i < kernel.num_parameters; ++i)
    w.parameters[i] = (void *)(uintptr_t)&kernel.parameters[i];
}

/* The name of a way, or null past the last one. */
EXPORT const char *launch_cost_name(size_t way) {
  return way < COUNT ? all[way].name : NULL;
}

/* Microseconds of a launch, the mean of `count`. */
EXPORT double launch_cost_time(size_t way, int count) {
  double begin = now();
  int n;
  for (n = 0; n < count; ++n)
    all[way].launch(&w);
  return (now() - begin) / count;
}

/* A function of tvm-ffi that looks at none of its arguments. */
EXPORT int __tvm_ffi_raw(void *self, const void *args, int32_t num_args,
                         void *result) {
  (void)self, (void)args, (void)num_args;
  raw(&w);
  memset(result, 0, 16); /* None */
  return 0;
}
