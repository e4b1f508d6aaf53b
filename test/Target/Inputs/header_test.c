/* Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
   See LICENSE for license information.
   SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

   Loads and launches a step through its generated header, with a driver that
   only says what it is asked for. */

#include "replay.h"

#include "cuda/driver.h"

/*===-- Calls -------------------------------------------------------------===*/

static replay_module module;
static nsa_message message;

/* An array at a made-up address of its own. */
static nsa_view array(int number, int64_t rows, int64_t columns) {
  nsa_view result;
  result.data = (void *)((uintptr_t)(number + 1) << 40);
  result.size[0] = rows;
  result.size[1] = columns;
  result.stride[0] = columns;
  result.stride[1] = 1;
  return result;
}

static replay_args good(int64_t bs, int64_t max_len) {
  replay_args args;
  args.bs = bs;
  args.max_len = max_len;
  args.seq_lens = array(0, 64, 1);
  args.pool = array(1, 64, 1);
  args.tokens = array(2, 100, 4096);
  args.lens = array(3, 64, 1);
  args.cu = array(4, 65, 1);
  args.table = array(5, 64, 2048);
  args.pages = array(6, 64, 32);
  args.lens_again = array(7, 64, 1);
  return args;
}

static void call(const char *what, replay_args args) {
  nsa_status status;
  message.text[0] = 0;
  printf("%s\n", what);
  status = replay_launch(&module, &args, (CUstream)(uintptr_t)0x30, &message);
  printf("status %d: %s\n", (int)status, message.text);
}

int main(void) {
  replay_args args;
  driver_fails = 1;
  printf("status %d: %s\n", (int)replay_load(&module, &message), message.text);
  driver_fails = 0;
  printf("status %d\n", (int)replay_load(&module, &message));

  shown_parameters = 18;
  call("one request", good(1, 1));
  shown_parameters = 2;
  call("no request", good(0, 2048));
  call("33 requests", good(33, 1025));
  driver_fails = 1;
  call("driver fails", good(33, 1025));
  driver_fails = 0;

  args = good(33, 1024);
  args.seq_lens.stride[0] = 2; /* any stride */
  args.pool.stride[0] = 0;     /* even for all the same element */
  args.table.stride[0] = 4096;
  call("strides", args);

  args = good(33, 1024);
  args.bs = -1;
  call("negative size", args);
  args = good(33, 1024);
  args.bs = INT64_C(1) << 31;
  call("large size", args);
  args = good(33, 1024);
  args.lens.data = NULL;
  call("no address", args);
  args = good(33, 1024);
  args.seq_lens.data = (char *)args.seq_lens.data + 4;
  call("address of half an element", args);
  args = good(33, 1024);
  args.seq_lens.size[0] = 32;
  call("too few requests", args);
  args = good(33, 1024);
  args.cu.size[0] = 33;
  call("no room for the last sum", args);
  args = good(33, 1024);
  args.table.size[1] = 1023;
  call("too few columns", args);
  args = good(33, 1025);
  args.pages.size[1] = 16;
  call("too few pages", args);
  args = good(33, 1024);
  args.lens.size[0] = -1;
  call("negative dimension", args);
  args = good(33, 1024);
  args.tokens.stride[1] = 2;
  call("stride of columns", args);
  args = good(33, 1024);
  args.lens.stride[0] = 2;
  call("not contiguous", args);
  args = good(33, 1024);
  args.table.stride[0] = 100;
  call("rows that overlap", args);
  args = good(33, 1024);
  args.lens.data = args.seq_lens.data;
  call("input as output", args);
  args = good(33, 1024);
  args.cu.data = (char *)args.lens.data + 4;
  call("outputs that overlap", args);
  args = good(33, 1024);
  args.pages.size[1] = 2048;
  args.pages.stride[0] = 2048;
  args.pages.data = args.table.data;
  call("two values in one array", args);
  args = good(33, 1024);
  args.lens_again = args.lens;
  call("one value for both", args);

  /* What the old checks and the runtime saw differently. */
  args = good(33, 64);
  args.table = array(5, 64, 100); /* column slices of one buffer */
  args.table.size[1] = 64;
  args.pages = args.table;
  args.pages.data = (char *)args.table.data + 4 * 64;
  args.pages.size[1] = 36;
  call("slices of one buffer", args);
  args = good(0, 64);
  args.pages.data = args.table.data; /* nothing is in the table's memory */
  args.pages.size[0] = 0;
  call("an empty array inside another", args);
  args = good(33, 64);
  args.seq_lens.stride[0] = INT64_MAX / 2;
  call("huge stride", args);
  args = good(33, 64);
  args.seq_lens.data = (void *)(UINTPTR_MAX - 63);
  call("end of memory", args);
  args = good(NSA_SIZE_UNSET, 64);
  call("size of the arrays", args);
  args.pool.size[0] = 63;
  call("sizes that disagree", args);
  args = good(33, NSA_SIZE_UNSET);
  call("size that no array has", args);

  args = good(INT32_MAX, 1024);
  args.seq_lens = array(0, INT32_MAX, 1);
  args.pool = array(1, INT32_MAX, 1);
  args.lens = array(3, INT32_MAX, 1);
  args.lens_again = array(7, INT32_MAX, 1);
  args.cu = array(4, INT64_C(1) << 31, 1);
  args.table = array(64, INT32_MAX, 1024);
  args.pages = array(128, INT32_MAX, 16);
  call("too many blocks", args);
  return 0;
}
