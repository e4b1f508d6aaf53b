/* Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * A CUDA driver that does nothing and counts: what a launch asks of the driver
 * and of the allocator is the same on every machine, and a time is not. To be
 * preloaded as libcuda.so.1.
 *
 * STUB_FAULT=NAME=CODE in the environment makes that call return that code; -DNAME=gone,
 * when this is compiled, leaves it out.
 */

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#ifndef DEVICES
#define DEVICES 1
#endif

static long launches, others, allocations;
static void *last_stream;

long stub_launches(void) { return launches; }
long stub_other_calls(void) { return others; }
long stub_allocations(void) { return allocations; }
long stub_last_stream(void) { return (long)last_stream; }

void *__libc_malloc(size_t);
void *malloc(size_t size) {
  ++allocations;
  return __libc_malloc(size);
}

/* Sanitizers have a malloc before this one, and say when it is called. */
int __sanitizer_install_malloc_and_free_hooks(
    void (*allocated)(const volatile void *, size_t),
    void (*freed)(const volatile void *)) __attribute__((weak));
static void allocated(const volatile void *place, size_t size) { ++allocations; }
static void freed(const volatile void *place) {}
__attribute__((constructor)) static void count_allocations(void) {
  if (__sanitizer_install_malloc_and_free_hooks)
    __sanitizer_install_malloc_and_free_hooks(allocated, freed);
}

/* What a call returns. */
static int result_of(const char *call) {
  const char *fault = getenv("STUB_FAULT");
  size_t length = strlen(call);
  if (!fault || strncmp(fault, call, length) || fault[length] != '=')
    return 0;
  return atoi(fault + length + 1);
}
static int counted(const char *call) {
  ++others;
  return result_of(call);
}
#define count() counted(__func__)
#define store(out, value) (*(out) = (value), count())
#define set(out, value) (*(out) = (value), count())

#define HANDLE ((void *)64)

int cuInit(unsigned flags) { return (void)flags, count(); }
int cuDriverGetVersion(int *v) { return set(v, 13000); }
int cuGetErrorName(int e, const char **name) {
  return (void)e, *name = "CUDA_ERROR", count();
}
int cuDeviceGet(int *device, int ordinal) { return set(device, ordinal); }
int cuDeviceGetCount(int *n) { return set(n, DEVICES); }
/* Compute capability 8.0: attributes 75 and 76. */
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  return (void)device, set(value, attribute == 75 ? 8 : 0);
}
int cuDevicePrimaryCtxRetain(void **c, int d) { return (void)d, store(c, HANDLE); }
int cuCtxGetCurrent(void **c) { return store(c, HANDLE); }
int cuCtxGetDevice(int *device) { return set(device, 0); }
int cuCtxPushCurrent_v2(void *c) { return (void)c, count(); }
int cuCtxPopCurrent_v2(void **c) { return store(c, HANDLE); }
int cuPointerGetAttribute(void *out, int attribute, unsigned long long p) {
  return (void)attribute, (void)p, set((int *)out, 0);
}
int cuModuleLoadDataEx(void **m, const void *image, unsigned n, int *options,
                       void **values) {
  (void)image, (void)n, (void)options;
  if (result_of(__func__))
    strcpy(values[0], "line 1: no good");
  return store(m, HANDLE);
}
int cuModuleUnload(void *m) { return (void)m, count(); }
int cuModuleGetFunction(void **f, void *m, const char *name) {
  return (void)m, (void)name, store(f, HANDLE);
}
int cuFuncGetAttribute(int *value, int attribute, void *f) {
  return (void)attribute, (void)f, set(value, 0);
}
int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                   unsigned by, unsigned bz, unsigned shared, void *stream,
                   void **parameters, void **extra) {
  (void)f, (void)gx, (void)gy, (void)gz, (void)bx, (void)by, (void)bz;
  (void)shared, (void)parameters, (void)extra;
  ++launches;
  last_stream = stream;
  return result_of(__func__);
}

/* A stream that is captured as long as somebody says so, and whose launches are
 * nodes: 1, 2, 3, ... The last update is kept. */
static int is_capturing;
static unsigned updates, last_grid;
static int is_enabled = -1;
static void *last_node, *last_graph;
static long long last_value;

void stub_capture(int is_on) { is_capturing = is_on; }
long stub_updates(void) { return updates; }
long stub_last_grid(void) { return last_grid; }
long stub_last_node(void) { return (long)last_node; }
long stub_last_graph(void) { return (long)last_graph; }
long stub_is_enabled(void) { return is_enabled; }
/* Of the last update's first parameter. */
long long stub_last_value(void) { return last_value; }

int cuStreamGetCaptureInfo_v3(void *stream, int *status, unsigned long long *id,
                              void **graph, void *const **nodes,
                              const void **edges, size_t *number) {
  static void *node;
  (void)stream;
  node = (void *)launches;
  *status = is_capturing;
  *id = 1;
  *nodes = &node;
  *edges = NULL;
  *number = 1;
  return store(graph, HANDLE);
}
struct node_params {
  void *function;
  unsigned grid[3], block[3], shared;
  void **parameters, **extra;
};
int cuGraphExecKernelNodeSetParams(void *graph, void *node,
                                   const struct node_params *params) {
  ++updates;
  last_graph = graph;
  last_node = node;
  last_grid = params->grid[0];
  last_value = *(long long *)params->parameters[0];
  return 0;
}
int cuGraphNodeSetEnabled(void *graph, void *node, unsigned enabled) {
  (void)graph, (void)node;
  is_enabled = (int)enabled;
  return 0;
}
