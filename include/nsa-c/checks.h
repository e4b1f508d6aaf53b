/*===- nsa-c/checks.h - The checks before a launch ----------------*- C -*-===*\
|*                                                                            *|
|* Part of the nsa project, under the Apache License v2.0 with LLVM           *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|*===----------------------------------------------------------------------===*|
|*                                                                            *|
|* What docs/Bundle.md has a launcher check and compute, once: the runtime is *|
|* compiled from this file, and generated headers carry it. Plain C11 and     *|
|* C++17 (GCC or Clang); nothing here allocates.                              *|
|*                                                                            *|
|* Functions that return an nsa_status write a message where they fail.       *|
|* `arrays` has an entry for each argument of the step (for sizes it means    *|
|* nothing), `sizes` one for each size argument, in the order of `ports`.     *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef NSA_C_CHECKS_H
#define NSA_C_CHECKS_H

/* Raised with every change of this file or of embed.h: a file that includes headers of two
 * compilers has one set of checks. */
#define NSA_CHECKS_VERSION 5

#ifndef NSA_C_TYPES_H
#include "nsa-c/types.h"
#endif

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/*===-- Messages ----------------------------------------------------------===*/

/* Where an error's text goes; null for whoever does not want it. What does not
 * fit is cut. */
typedef struct nsa_message {
  char text[1024];
  /* The argument that the error is about, or null. */
  const char *argument;
} nsa_message;

/* Appends to a message. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static inline void
nsa_say(nsa_message *message, const char *format, ...) {
  size_t used, room;
  int length;
  va_list parts;
  if (!message)
    return;
  used = strlen(message->text);
  room = sizeof(message->text) - used;
  va_start(parts, format);
  length = vsnprintf(message->text + used, room, format, parts);
  va_end(parts);
  if (length < 0 || (size_t)length >= room)
    memcpy(message->text + sizeof(message->text) - 4, "...", 4);
}

/* Begins a message. */
static inline nsa_status nsa_fail(nsa_message *message) {
  if (message) {
    message->text[0] = 0;
    message->argument = NULL;
  }
  return NSA_INVALID_ARGUMENT;
}

static inline nsa_status nsa_fail_argument(nsa_message *message,
                                           const char *name) {
  nsa_status status = nsa_fail(message);
  if (message)
    message->argument = name;
  nsa_say(message, "argument '%s': ", name);
  return status;
}

/*===-- What a step asks for ----------------------------------------------===*/

#define NSA_MAX_RANK 16
#define NSA_MAX_SIZE INT64_C(2147483647)

/* In a dimension: any size, any stride. */
#define NSA_ANY INT64_MIN
/* The stride that is the product of the inner sizes. */
#define NSA_CONTIGUOUS (INT64_MIN + 1)
/* In the place of a size that nobody has given. */
#define NSA_SIZE_UNSET INT64_MIN

typedef struct nsa_dim {
  int64_t size;
  int64_t stride; /* in elements, as everywhere */
  int32_t extent; /* the size argument that says how much is used, or -1 */
  int32_t plus;   /* what is added to it */
} nsa_dim;

/* An argument. Of sizes only name, kind and size_index count. */
typedef struct nsa_port {
  const char *name;
  int32_t kind;       /* nsa_argument_kind */
  int32_t size_index; /* place among the sizes, or -1 */
  int32_t ndim;
  int32_t item_size; /* bytes of an element */
  int64_t alignment; /* bytes that divide the address */
  int64_t value;     /* which one is written to it, or -1 */
  const nsa_dim *dims;
  int32_t is_optional; /* whether its address may be null: no array */
} nsa_port;

/* An instruction of a size expression. */
typedef enum nsa_op {
  NSA_OP_CONST = 0,    /* value */
  NSA_OP_SIZE = 1,     /* size argument number `value` */
  NSA_OP_DIM = 2,      /* dimension `dim` of argument number `value` */
  NSA_OP_ADD = 3,      /* of the two before it */
  NSA_OP_MUL = 4,      /* of the two before it */
  NSA_OP_FLOORDIV = 5, /* of the one before it by `value` */
  NSA_OP_CEILDIV = 6,  /* of the one before it by `value` */
  NSA_OP_MOD = 7       /* of the one before it by `value` */
} nsa_op;

typedef struct nsa_instr {
  int32_t op; /* nsa_op */
  int32_t dim;
  int64_t value;
} nsa_instr;

/* Longer code, no manifest needs. */
#define NSA_MAX_CODE 64

/* A size expression: postfix code, computed with a stack on the side. */
typedef struct nsa_size {
  const nsa_instr *code;
  int32_t length; /* at most NSA_MAX_CODE */
} nsa_size;

/* shape[dim] of an argument is at least so much. */
typedef struct nsa_requirement {
  int32_t argument;
  int32_t dim;
  nsa_size at_least;
} nsa_requirement;

/* Rows times columns, in tiles. */
typedef struct nsa_segment {
  nsa_size rows;
  nsa_size columns;
  int64_t tile[2];
  /* The arguments of which one has to be there for it to have blocks; of none
   * it always has. */
  const int32_t *any_of;
  size_t num_any_of;
} nsa_segment;

typedef struct nsa_kernel {
  const char *name;
  const nsa_segment *segments;
  size_t num_segments;
} nsa_kernel;

typedef struct nsa_signature {
  const char *step;
  const nsa_port *ports;
  size_t num_ports;
  const int32_t *sizes; /* the places of the size arguments */
  size_t num_sizes;
  const nsa_requirement *requirements;
  size_t num_requirements;
  const nsa_kernel *kernels;
  size_t num_kernels;
} nsa_signature;

/* A strided array, as it was given. */
typedef struct nsa_strided {
  uint64_t base;
  int64_t item_size;
  int32_t ndim; /* at most NSA_MAX_RANK */
  const int64_t *shape;
  const int64_t *strides;
} nsa_strided;

/* Whether an optional array is not there. */
static inline int nsa_is_missing(const nsa_port *port,
                                 const nsa_strided *array) {
  return port->is_optional && array->base == 0;
}

/*===-- Size expressions --------------------------------------------------===*/

/* a / b, rounded down whatever a's sign, for a positive b; leaves a rest of 0
 * or more. Pages and tiles are mostly powers of two, and a shift takes a tenth
 * of the time of a division. */
static inline int64_t nsa_divide(int64_t a, int64_t b, int64_t *rest) {
  if ((b & (b - 1)) == 0) {
    *rest = a & (b - 1);
    return a >> __builtin_ctzll((unsigned long long)b);
  }
  *rest = a % b + (a % b < 0 ? b : 0);
  return a / b - (a % b < 0);
}

/* One operation. Returns 0 if it leaves 64 bits. */
static inline int nsa_apply(int32_t op, int64_t a, int64_t b, int64_t *result) {
  int64_t rest;
  switch (op) {
  case NSA_OP_ADD:
    return !__builtin_add_overflow(a, b, result);
  case NSA_OP_MUL:
    return !__builtin_mul_overflow(a, b, result);
  case NSA_OP_FLOORDIV:
    *result = nsa_divide(a, b, &rest);
    return 1;
  case NSA_OP_CEILDIV:
    *result = nsa_divide(a, b, &rest);
    *result += rest != 0;
    return 1;
  case NSA_OP_MOD:
    nsa_divide(a, b, result);
    return 1;
  default:
    return 0;
  }
}

/* What an instruction without operands gives. */
static inline int64_t nsa_leaf(const nsa_instr *instr,
                               const nsa_strided *arrays,
                               const int64_t *sizes) {
  return instr->op == NSA_OP_CONST  ? instr->value
         : instr->op == NSA_OP_SIZE ? sizes[instr->value]
                                    : arrays[instr->value].shape[instr->dim];
}

/* nsa_evaluate of more than one instruction. */
static inline int nsa_interpret(nsa_size size, const nsa_strided *arrays,
                                const int64_t *sizes, int64_t *result) {
  int64_t stack[NSA_MAX_CODE], value = nsa_leaf(size.code, arrays, sizes);
  int32_t top = 0, i;
  for (i = 1; i < size.length; ++i) {
    const nsa_instr *instr = &size.code[i];
    if (instr->op <= NSA_OP_DIM) {
      stack[top++] = value;
      value = nsa_leaf(instr, arrays, sizes);
    } else if (instr->op <= NSA_OP_MUL) {
      if (!nsa_apply(instr->op, stack[--top], value, &value))
        return 0;
    } else {
      nsa_apply(instr->op, value, instr->value, &value);
    }
  }
  *result = value;
  return 1;
}

/* Computes an expression. Returns 0 if it leaves 64 bits. `arrays` may be null
 * where no dimension is named. */
static inline int nsa_evaluate(nsa_size size, const nsa_strided *arrays,
                               const int64_t *sizes, int64_t *result) {
  if (size.length > 1)
    return nsa_interpret(size, arrays, sizes, result);
  *result = nsa_leaf(size.code, arrays, sizes);
  return 1;
}

/* Whether an expression names no size argument. */
static inline int nsa_is_settled(nsa_size size) {
  int32_t i;
  for (i = 0; i < size.length; ++i)
    if (size.code[i].op == NSA_OP_SIZE)
      return 0;
  return 1;
}

/* nsa_evaluate with a message. */
static inline nsa_status nsa_compute(const nsa_signature *step, nsa_size size,
                                     const nsa_strided *arrays,
                                     const int64_t *sizes, int64_t *result,
                                     nsa_message *message) {
  nsa_status status;
  if (nsa_evaluate(size, arrays, sizes, result))
    return NSA_OK;
  status = nsa_fail(message);
  nsa_say(message, "step '%s': a size expression leaves 64 bits", step->step);
  return status;
}

/* The length of the operand that ends where the code does. */
static inline int32_t nsa_operand(nsa_size size) {
  int32_t at = size.length, missing = 1;
  while (missing > 0) {
    int32_t op = size.code[--at].op;
    if (op == NSA_OP_ADD || op == NSA_OP_MUL)
      ++missing;
    else if (op <= NSA_OP_DIM)
      --missing;
  }
  return size.length - at;
}

/* Appends an expression in the step's own names: "ceildiv(max_len, 64)". */
static inline void nsa_say_size(const nsa_signature *step, nsa_size size,
                                int is_inside, nsa_message *message) {
  static const char *const names[] = {"floordiv", "ceildiv", "mod"};
  const nsa_instr *last = &size.code[size.length - 1];
  nsa_size lhs = {size.code, size.length - 1}, rhs = lhs;
  int is_sum = last->op == NSA_OP_ADD;
  switch (last->op) {
  case NSA_OP_CONST:
    nsa_say(message, "%lld", (long long)last->value);
    break;
  case NSA_OP_SIZE:
    nsa_say(message, "%s", step->ports[step->sizes[last->value]].name);
    break;
  case NSA_OP_DIM:
    nsa_say(message, "%s.shape[%d]", step->ports[last->value].name,
            (int)last->dim);
    break;
  case NSA_OP_ADD:
  case NSA_OP_MUL:
    rhs.length = nsa_operand(lhs);
    lhs.length -= rhs.length;
    rhs.code += lhs.length;
    /* A sum at the top needs no parentheses; one inside something does. */
    nsa_say(message, "%s", is_sum && is_inside ? "(" : "");
    nsa_say_size(step, lhs, 1, message);
    nsa_say(message, "%s", is_sum ? " + " : " * ");
    nsa_say_size(step, rhs, 1, message);
    nsa_say(message, "%s", is_sum && is_inside ? ")" : "");
    break;
  default:
    nsa_say(message, "%s(", names[last->op - NSA_OP_FLOORDIV]);
    nsa_say_size(step, lhs, 1, message);
    nsa_say(message, ", %lld)", (long long)last->value);
  }
}

/*===-- Where an array's bytes are ----------------------------------------===*/

/* 0 when any dimension is. Of an array that nsa_is_addressable accepts. */
static inline int64_t nsa_elements(const nsa_strided *array) {
  int64_t count = 1;
  int32_t i;
  /* First, as the product of the others may wrap. */
  for (i = 0; i < array->ndim; ++i)
    if (array->shape[i] == 0)
      return 0;
  for (i = 0; i < array->ndim; ++i)
    count *= array->shape[i];
  return count;
}

/* Whether the array can be computed with at all: neither its element count nor
 * the distance between its first and last byte leaves 62 bits. */
static inline int nsa_is_addressable(const nsa_strided *array) {
  const int64_t limit = INT64_C(1) << 62;
  int64_t span = array->item_size, count = array->item_size;
  int32_t i;
  for (i = 0; i < array->ndim; ++i)
    if (array->shape[i] == 0)
      return 1;
  for (i = 0; i < array->ndim; ++i) {
    int64_t stride = array->strides[i], reach;
    if (__builtin_mul_overflow(count, array->shape[i], &count) || count > limit)
      return 0;
    if (array->shape[i] < 2)
      continue;
    if (stride == INT64_MIN ||
        __builtin_mul_overflow(stride < 0 ? -stride : stride,
                               array->shape[i] - 1, &reach) ||
        __builtin_mul_overflow(reach, array->item_size, &reach) ||
        __builtin_add_overflow(span, reach, &span) || span > limit)
      return 0;
  }
  return 1;
}

/* Where the bytes of an array are. Every element lies at
 *
 *     lowest + sum(k_i * stride_i) + [0, item_size)
 *
 * with strides made positive. Dimensions that follow each other without a gap
 * make up one block of `width` bytes; the strides of the others are all
 * multiples of their greatest common divisor, the pitch. So modulo the pitch
 * the array covers no more than [0, width) from its lowest byte:
 *
 *     workspace w[3, 8] of bytes      w[:, 0:3]  lowest 0  width 3  pitch 8
 *       A A A . . B B .               w[:, 5:7]  lowest 5  width 2  pitch 8
 *       A A A . . B B .
 *       A A A . . B B .               distance 5 mod 8: [5, 7) misses [0, 3)
 *
 * Two arrays that miss each other modulo a common divisor of their pitches
 * share no byte, whatever their row counts; nor do two whose byte ranges are
 * apart. */
typedef struct nsa_pattern {
  int64_t width;
  int64_t pitch; /* 0: a single block */
} nsa_pattern;

/* The byte range of an array. */
typedef struct nsa_region {
  uint64_t lowest;
  int64_t span; /* to one past the highest; 0 if there are no elements */
  size_t argument;
} nsa_region;

/* The dimensions that move the address, innermost first, in bytes. */
typedef struct nsa_moves {
  int64_t stride[NSA_MAX_RANK]; /* positive */
  int64_t size[NSA_MAX_RANK];   /* at least 2 */
  int count;
} nsa_moves;

static inline int64_t nsa_gcd(int64_t a, int64_t b) {
  while (b != 0) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* Of an addressable array with elements. */
static inline nsa_moves nsa_moves_of(const nsa_strided *array) {
  nsa_moves moves;
  int32_t i;
  moves.count = 0;
  for (i = 0; i < array->ndim; ++i) {
    int64_t stride;
    int at = moves.count;
    /* Its stride means nothing, and may be any number. */
    if (array->shape[i] < 2)
      continue;
    stride = array->strides[i] * array->item_size;
    if (stride < 0)
      stride = -stride;
    for (; at > 0 && moves.stride[at - 1] > stride; --at) {
      moves.stride[at] = moves.stride[at - 1];
      moves.size[at] = moves.size[at - 1];
    }
    moves.stride[at] = stride;
    moves.size[at] = array->shape[i];
    ++moves.count;
  }
  return moves;
}

/* Leaves the byte range of an addressable array. */
static inline void nsa_find_region(const nsa_strided *array,
                                   nsa_region *region) {
  int32_t i;
  region->lowest = array->base;
  region->span = 0;
  if (nsa_elements(array) == 0)
    return;
  region->span = array->item_size;
  for (i = 0; i < array->ndim; ++i)
    if (array->shape[i] > 1) {
      int64_t reach =
          array->strides[i] * array->item_size * (array->shape[i] - 1);
      region->lowest += (uint64_t)(reach < 0 ? reach : 0);
      region->span += reach < 0 ? -reach : reach;
    }
}

/* Of an addressable array with elements. */
static inline nsa_pattern nsa_pattern_of(const nsa_strided *array) {
  nsa_moves moves = nsa_moves_of(array);
  nsa_pattern pattern = {array->item_size, 0};
  int m;
  for (m = 0; m < moves.count; ++m)
    if (pattern.pitch == 0 && moves.stride[m] <= pattern.width)
      pattern.width += moves.stride[m] * (moves.size[m] - 1);
    else
      pattern.pitch = nsa_gcd(pattern.pitch, moves.stride[m]);
  return pattern;
}

/* Whether the byte ranges have a byte in common. */
static inline int nsa_regions_meet(const nsa_region *a, const nsa_region *b) {
  return b->lowest < a->lowest + (uint64_t)a->span &&
         a->lowest < b->lowest + (uint64_t)b->span;
}

/* Of two whose byte ranges meet: whether they meet modulo their pitches. `a`
 * begins `distance` bytes before `b`. */
static inline int nsa_patterns_meet(nsa_pattern a, nsa_pattern b,
                                    int64_t distance) {
  int64_t pitch = nsa_gcd(a.pitch, b.pitch);
  if (pitch == 0)
    return 1;
  distance %= pitch;
  if (distance < 0)
    distance += pitch;
  return a.width > distance || distance + b.width > pitch;
}

/* Whether two arrays may share a byte. Never 0 when they do. 1 without need
 * only for arrays whose inner dimension has gaps, or whose rows are at
 * different pitches: column slices of one workspace, and strided elements of
 * one array, are told apart exactly. */
static inline int nsa_may_overlap(const nsa_strided *a, const nsa_strided *b,
                                  const nsa_region *region_a,
                                  const nsa_region *region_b) {
  return region_a->span != 0 && region_b->span != 0 &&
         nsa_regions_meet(region_a, region_b) &&
         nsa_patterns_meet(nsa_pattern_of(a), nsa_pattern_of(b),
                           (int64_t)(region_b->lowest - region_a->lowest));
}

/* Whether two elements of one array may share a byte. Exact up to rank 2. */
static inline int nsa_may_overlap_itself(const nsa_strided *array) {
  nsa_moves moves;
  int64_t size = array->item_size;
  int m;
  if (nsa_elements(array) < 2)
    return 0;
  moves = nsa_moves_of(array);
  if (moves.stride[0] == 0)
    return 1;
  if (moves.count == 2) {
    /* i * a == j * b has its least solution at i = b / g, j = a / g. */
    int64_t a = moves.stride[0], b = moves.stride[1], g = nsa_gcd(a, b);
    return b / g < moves.size[0] && a / g < moves.size[1];
  }
  for (m = 0; m < moves.count; ++m) {
    if (moves.stride[m] < size)
      return 1;
    size += moves.stride[m] * (moves.size[m] - 1);
  }
  return 0;
}

/* Whether the very same elements lie at the very same places. */
static inline int nsa_is_same_view(const nsa_strided *a, const nsa_strided *b) {
  int32_t i;
  if (a->base != b->base || a->item_size != b->item_size || a->ndim != b->ndim)
    return 0;
  for (i = 0; i < a->ndim; ++i)
    /* The stride of a dimension of one element means nothing. */
    if (a->shape[i] != b->shape[i] ||
        (a->shape[i] > 1 && a->strides[i] != b->strides[i]))
      return 0;
  return 1;
}

/*===-- Arrays ------------------------------------------------------------===*/

/* Whether an array with elements begins and ends where addresses do. */
static inline int nsa_is_inside_memory(const nsa_strided *array,
                                       const nsa_region *region) {
  return region->lowest <= array->base &&
         region->lowest + (uint64_t)region->span > region->lowest;
}

/* Whether an array passes nsa_check_array for sure, as nearly all do: of fewer
 * than 2^31 elements, with strides that ascend from the innermost dimension.
 * Leaves its byte range then. */
static inline int nsa_is_plain(const nsa_port *port, const nsa_strided *array,
                               nsa_region *region) {
  const uint64_t mask = (uint64_t)port->alignment - 1;
  uint64_t count = 1, last = 0; /* elements, and how far the last one is */
  int32_t i;
  for (i = array->ndim - 1; i >= 0; --i) {
    const nsa_dim *dim = &port->dims[i];
    uint64_t size = (uint64_t)array->shape[i];
    uint64_t stride = (uint64_t)array->strides[i];
    if (((size - 1) | stride) >> 31 ||
        (dim->size != NSA_ANY && (uint64_t)dim->size != size) ||
        (port->kind == NSA_KIND_OUT && stride <= last) ||
        (dim->stride != NSA_ANY && (uint64_t)dim->stride != stride &&
         !(dim->stride == NSA_CONTIGUOUS && stride == count)))
      return 0;
    last += stride * (size - 1);
    count *= size;
    if ((last >> 48) | (count >> 31))
      return 0;
  }
  region->lowest = array->base;
  region->span = (int64_t)(last + 1) * array->item_size;
  /* An alignment is a power of two as a rule. */
  return array->base - 1 < UINT64_C(1) << 62 &&
         (((uint64_t)port->alignment | array->base) & mask) == 0;
}

/* nsa_check_array, one thing after the other. */
static inline nsa_status nsa_examine_array(const nsa_port *port,
                                           const nsa_strided *array,
                                           nsa_region *region,
                                           nsa_message *message) {
  nsa_status status;
  int64_t contiguous = 1, elements;
  uint64_t past;
  int32_t i;
  if (nsa_is_missing(port, array)) {
    region->span = 0;
    return NSA_OK;
  }
  for (i = array->ndim - 1; i >= 0; --i)
    if (array->shape[i] < 0) {
      status = nsa_fail_argument(message, port->name);
      nsa_say(message, "expected sizes of at least 0 but got shape[%d] = %lld",
              (int)i, (long long)array->shape[i]);
      return status;
    }
  if (!nsa_is_addressable(array)) {
    status = nsa_fail_argument(message, port->name);
    nsa_say(message, "expected an array that fits into memory but its shape "
                     "and strides reach beyond 2^62 bytes");
    return status;
  }
  for (i = 0; i < array->ndim; ++i)
    if (port->dims[i].size != NSA_ANY &&
        port->dims[i].size != array->shape[i]) {
      status = nsa_fail_argument(message, port->name);
      nsa_say(message, "expected shape[%d] to be %lld but got %lld", (int)i,
              (long long)port->dims[i].size, (long long)array->shape[i]);
      return status;
    }
  nsa_find_region(array, region);
  elements = nsa_elements(array);
  if (elements == 0)
    return NSA_OK;

  for (i = array->ndim - 1; i >= 0; --i) {
    int64_t stride = port->dims[i].stride;
    if (stride == NSA_CONTIGUOUS)
      stride = contiguous;
    contiguous *= array->shape[i];
    if (stride != NSA_ANY && array->shape[i] > 1 &&
        stride != array->strides[i]) {
      status = nsa_fail_argument(message, port->name);
      nsa_say(message, "expected stride %lld in dimension %d but got %lld",
              (long long)stride, (int)i, (long long)array->strides[i]);
      return status;
    }
  }
  if (array->base == 0) {
    status = nsa_fail_argument(message, port->name);
    nsa_say(message, "expected the address of %lld element%s but got null",
            (long long)elements, elements == 1 ? "" : "s");
    return status;
  }
  past = array->base % (uint64_t)port->alignment;
  if (past != 0) {
    status = nsa_fail_argument(message, port->name);
    nsa_say(message,
            "expected an address aligned to %lld byte%s but got one that is "
            "%llu past a multiple of it",
            (long long)port->alignment, port->alignment == 1 ? "" : "s",
            (unsigned long long)past);
    return status;
  }
  if (!nsa_is_inside_memory(array, region)) {
    status = nsa_fail_argument(message, port->name);
    nsa_say(message, "expected an array that fits into memory but from its "
                     "address its shape and strides leave 64 bits");
    return status;
  }
  if (port->kind == NSA_KIND_OUT && nsa_may_overlap_itself(array)) {
    status = nsa_fail_argument(message, port->name);
    nsa_say(message, "expected elements apart from each other but its strides "
                     "make some of them overlap");
    return status;
  }
  return NSA_OK;
}

/* Checks shape, strides, address and alignment. Leaves the byte range in
 * `region`. */
static inline nsa_status nsa_check_array(const nsa_port *port,
                                         const nsa_strided *array,
                                         nsa_region *region,
                                         nsa_message *message) {
  if (nsa_is_plain(port, array, region))
    return NSA_OK;
  return nsa_examine_array(port, array, region, message);
}

/* Sorts by the lowest address (Shell's way: few lines, no memory). Few, which
 * lie in order but for some, are best inserted one by one. */
static inline void nsa_sort_regions(nsa_region *regions, size_t count) {
  size_t gap = 1, i, at;
  while (count > 32 && gap < count / 3)
    gap = 3 * gap + 1;
  for (; gap > 0; gap /= 3)
    for (i = gap; i < count; ++i) {
      nsa_region region;
      /* As buffers mostly are. */
      if (regions[i - gap].lowest <= regions[i].lowest)
        continue;
      region = regions[i];
      for (at = i; at >= gap && regions[at - gap].lowest > region.lowest;
           at -= gap)
        regions[at] = regions[at - gap];
      regions[at] = region;
    }
}

/* Finds the first two arguments, by their places, that may overlap though one
 * of them is written; two that the same value is written to may be the very
 * same view. Returns 0 if there are none. `regions` has the byte range of each
 * array, and is in no order then. */
static inline int nsa_find_overlap(const nsa_port *ports,
                                   const nsa_strided *arrays, size_t count,
                                   nsa_region *regions, size_t *first,
                                   size_t *second) {
  size_t found = 0, i, j;
  for (i = 0; i < count; ++i)
    if (ports[i].kind != NSA_KIND_SIZE && regions[i].span != 0) {
      regions[found].lowest = regions[i].lowest;
      regions[found].span = regions[i].span;
      regions[found++].argument = i;
    }
  nsa_sort_regions(regions, found);

  *first = *second = count;
  for (i = 0; i < found; ++i)
    /* Sorted by address, only neighbours can meet. */
    for (j = i + 1; j < found && nsa_regions_meet(&regions[i], &regions[j]);
         ++j) {
      size_t a = regions[i].argument, b = regions[j].argument;
      int a_is_out = ports[a].kind == NSA_KIND_OUT;
      int b_is_out = ports[b].kind == NSA_KIND_OUT;
      if ((!a_is_out && !b_is_out) ||
          (a_is_out && b_is_out && ports[a].value == ports[b].value &&
           nsa_is_same_view(&arrays[a], &arrays[b])) ||
          !nsa_may_overlap(&arrays[a], &arrays[b], &regions[i], &regions[j]))
        continue;
      if (a > b) {
        size_t swap = a;
        a = b;
        b = swap;
      }
      if (a < *first || (a == *first && b < *second)) {
        *first = a;
        *second = b;
      }
    }
  return *first < count;
}

/* Checks that no array that is written shares memory with another one. */
static inline nsa_status nsa_check_overlap(const nsa_signature *step,
                                           const nsa_strided *arrays,
                                           nsa_region *regions,
                                           nsa_message *message) {
  const nsa_port *ports = step->ports, *blamed, *other;
  nsa_status status;
  size_t first, second;
  int is_other_out;
  if (!nsa_find_overlap(ports, arrays, step->num_ports, regions, &first,
                        &second))
    return NSA_OK;
  /* Blame the one that is written. */
  blamed = &ports[second];
  other = &ports[first];
  if (blamed->kind != NSA_KIND_OUT) {
    blamed = &ports[first];
    other = &ports[second];
  }
  is_other_out = other->kind == NSA_KIND_OUT;
  status = nsa_fail_argument(message, blamed->name);
  nsa_say(message,
          "expected an array that overlaps no other but it overlaps '%s'%s",
          other->name,
          !is_other_out                   ? ""
          : other->value == blamed->value ? " without being the very same view"
                                          : ", to which another value is "
                                            "written");
  return status;
}

/*===-- Sizes -------------------------------------------------------------===*/

static inline nsa_status nsa_check_size(const nsa_port *port, int64_t value,
                                        nsa_message *message) {
  nsa_status status;
  if (value >= 0 && value <= NSA_MAX_SIZE)
    return NSA_OK;
  status = nsa_fail_argument(message, port->name);
  nsa_say(message, "expected a size from 0 to 2147483647 but got %lld",
          (long long)value);
  return status;
}

/* Checks the sizes that are given, and gives the others what all dimensions
 * that name them agree on. Those that none names, or that they do not agree on,
 * stay NSA_SIZE_UNSET. */
static inline nsa_status nsa_resolve_sizes(const nsa_signature *step,
                                           const nsa_strided *arrays,
                                           int64_t *sizes,
                                           nsa_message *message) {
  size_t i, p;
  int32_t d;
  for (i = 0; i < step->num_sizes; ++i)
    if (sizes[i] != NSA_SIZE_UNSET) {
      nsa_status status =
          nsa_check_size(&step->ports[step->sizes[i]], sizes[i], message);
      if (status != NSA_OK)
        return status;
    }
  for (i = 0; i < step->num_sizes; ++i) {
    int64_t found = NSA_SIZE_UNSET;
    int disagree = 0;
    if (sizes[i] != NSA_SIZE_UNSET)
      continue;
    for (p = 0; p < step->num_ports; ++p)
      for (d = 0; d < step->ports[p].ndim; ++d) {
        const nsa_dim *dim = &step->ports[p].dims[d];
        int64_t value;
        if (dim->extent != (int32_t)i)
          continue;
        /* Too small for its constant, a dimension names 0, and a requirement
         * says what is wrong with it. */
        value = arrays[p].shape[d] - dim->plus;
        if (value < 0)
          value = 0;
        if (value > NSA_MAX_SIZE || (found != NSA_SIZE_UNSET && found != value))
          disagree = 1;
        found = value;
      }
    if (!disagree)
      sizes[i] = found;
  }
  return NSA_OK;
}

/* Says what is wrong with a size that nsa_resolve_sizes left unset. */
static inline nsa_status nsa_fail_unset(const nsa_signature *step,
                                        const nsa_strided *arrays, size_t index,
                                        nsa_message *message) {
  const nsa_port *size = &step->ports[step->sizes[index]];
  const char *separator = "";
  nsa_status status = nsa_fail_argument(message, size->name);
  size_t p;
  int32_t d;
  nsa_say(message, "expected the dimensions that name it to agree, as it is "
                   "not given, but ");
  for (p = 0; p < step->num_ports; ++p)
    for (d = 0; d < step->ports[p].ndim; ++d) {
      const nsa_dim *dim = &step->ports[p].dims[d];
      int64_t value;
      if (dim->extent != (int32_t)index)
        continue;
      value = arrays[p].shape[d];
      if (value - dim->plus > NSA_MAX_SIZE)
        return nsa_check_size(size, value - dim->plus, message);
      nsa_say(message, "%s%s.shape[%d] is %lld", separator, step->ports[p].name,
              (int)d, (long long)value);
      if (dim->plus)
        nsa_say(message, " (%s + %d)", size->name, (int)dim->plus);
      separator = ", ";
    }
  if (*separator)
    return status;
  nsa_fail_argument(message, size->name);
  nsa_say(message, "expected a size but it is missing");
  return NSA_TYPE;
}

/* Checks that all sizes are known. */
static inline nsa_status nsa_check_sizes_set(const nsa_signature *step,
                                             const nsa_strided *arrays,
                                             const int64_t *sizes,
                                             nsa_message *message) {
  size_t i;
  for (i = 0; i < step->num_sizes; ++i)
    if (sizes[i] == NSA_SIZE_UNSET)
      return nsa_fail_unset(step, arrays, i, message);
  return NSA_OK;
}

/*===-- Requirements and grids --------------------------------------------===*/

static inline nsa_status nsa_fail_requirement(const nsa_signature *step,
                                              const nsa_requirement *required,
                                              int64_t at_least, int64_t actual,
                                              nsa_message *message) {
  nsa_size size = required->at_least;
  nsa_status status =
      nsa_fail_argument(message, step->ports[required->argument].name);
  nsa_say(message, "expected shape[%d] to be at least %lld", (int)required->dim,
          (long long)at_least);
  if (size.length > 1 || size.code[0].op != NSA_OP_CONST) {
    nsa_say(message, " (");
    nsa_say_size(step, size, 0, message);
    nsa_say(message, ")");
  }
  nsa_say(message, " but got %lld", (long long)actual);
  return status;
}

/* Whether all sizes are known, and all requirements hold. */
static inline int nsa_is_met(const nsa_signature *step,
                             const nsa_strided *arrays, const int64_t *sizes) {
  int64_t least;
  size_t i;
  for (i = 0; i < step->num_sizes; ++i)
    if (sizes[i] == NSA_SIZE_UNSET)
      return 0;
  for (i = 0; i < step->num_requirements; ++i) {
    const nsa_requirement *required = &step->requirements[i];
    const nsa_strided *array = &arrays[required->argument];
    if (nsa_is_missing(&step->ports[required->argument], array))
      continue;
    if (!nsa_evaluate(required->at_least, arrays, sizes, &least) ||
        array->shape[required->dim] < least)
      return 0;
  }
  return 1;
}

/* Checks the requirements that name a size argument, or those that do not. */
static inline nsa_status nsa_check_requirements(const nsa_signature *step,
                                                const nsa_strided *arrays,
                                                const int64_t *sizes,
                                                int settled,
                                                nsa_message *message) {
  size_t i;
  for (i = 0; i < step->num_requirements; ++i) {
    const nsa_requirement *required = &step->requirements[i];
    const nsa_strided *array = &arrays[required->argument];
    int64_t actual = array->shape[required->dim], least;
    nsa_status status;
    if (nsa_is_settled(required->at_least) != settled ||
        nsa_is_missing(&step->ports[required->argument], array))
      continue;
    status =
        nsa_compute(step, required->at_least, arrays, sizes, &least, message);
    if (status != NSA_OK)
      return status;
    if (actual < least)
      return nsa_fail_requirement(step, required, least, actual, message);
  }
  return NSA_OK;
}

/* Adds the blocks of rows times columns in tiles. A negative size is an empty
 * one. What does not fit a grid is NSA_MAX_SIZE + 1, however much it is. */
static inline int64_t nsa_add_blocks(int64_t blocks, int64_t rows,
                                     int64_t columns, const int64_t *tile) {
  const int64_t limit = NSA_MAX_SIZE + 1;
  int64_t rest, tiles;
  if (rows <= 0 || columns <= 0)
    return blocks;
  rows = nsa_divide(rows, tile[0], &rest);
  rows += rest != 0;
  columns = nsa_divide(columns, tile[1], &rest);
  columns += rest != 0;
  if (__builtin_mul_overflow(rows, columns, &tiles) || tiles > limit - blocks)
    return limit;
  return blocks + tiles;
}

/* Whether any array is there that a segment writes. */
static inline int nsa_is_wanted(const nsa_segment *segment,
                                const nsa_strided *arrays) {
  size_t i;
  for (i = 0; i < segment->num_any_of; ++i)
    if (arrays[segment->any_of[i]].base != 0)
      return 1;
  return segment->num_any_of == 0;
}

/* The blocks of a kernel's grid. */
static inline nsa_status nsa_count_blocks(const nsa_signature *step,
                                          const nsa_kernel *kernel,
                                          const nsa_strided *arrays,
                                          const int64_t *sizes, int64_t *blocks,
                                          nsa_message *message) {
  nsa_status status;
  size_t i;
  *blocks = 0;
  for (i = 0; i < kernel->num_segments; ++i) {
    const nsa_segment *segment = &kernel->segments[i];
    int64_t rows, columns;
    if (!nsa_is_wanted(segment, arrays))
      continue;
    status = nsa_compute(step, segment->rows, arrays, sizes, &rows, message);
    if (status == NSA_OK)
      status =
          nsa_compute(step, segment->columns, arrays, sizes, &columns, message);
    if (status != NSA_OK)
      return status;
    *blocks = nsa_add_blocks(*blocks, rows, columns, segment->tile);
    if (*blocks > NSA_MAX_SIZE) {
      status = nsa_fail(message);
      nsa_say(message,
              "step '%s': kernel '%s' would need more than 2147483647 blocks "
              "for these sizes",
              step->step, kernel->name);
      return status;
    }
  }
  return NSA_OK;
}

/* Checks a call whose arrays were checked one by one, which left `regions`.
 * Leaves in `sizes` what the kernels take and in `blocks` the grid of each. */
static inline nsa_status nsa_check_launch(const nsa_signature *step,
                                          const nsa_strided *arrays,
                                          nsa_region *regions, int64_t *sizes,
                                          int64_t *blocks,
                                          nsa_message *message) {
  nsa_status status;
  size_t i;
  status = nsa_check_overlap(step, arrays, regions, message);
  if (status == NSA_OK)
    status = nsa_resolve_sizes(step, arrays, sizes, message);
  /* Only what is wrong has to be looked for in an order. */
  if (status == NSA_OK && !nsa_is_met(step, arrays, sizes)) {
    status = nsa_check_requirements(step, arrays, sizes, 1, message);
    if (status == NSA_OK)
      status = nsa_check_sizes_set(step, arrays, sizes, message);
    if (status == NSA_OK)
      status = nsa_check_requirements(step, arrays, sizes, 0, message);
  }
  for (i = 0; i < step->num_kernels && status == NSA_OK; ++i)
    status = nsa_count_blocks(step, &step->kernels[i], arrays, sizes,
                              &blocks[i], message);
  return status;
}

/*===-- The same, as straight code ----------------------------------------===*/

/* A generated launcher first asks a function that it generates from these,
 * without loops over tables: nearly all calls pass it. It refuses none: what
 * does not pass for sure goes through the checks above, which say why.
 *
 * `odd` gathers bits that are 0 as long as all is well. The constants among the
 * parameters fold. */
#if defined(__GNUC__)
#define NSA_STRAIGHT static inline __attribute__((always_inline))
#else
#define NSA_STRAIGHT static inline
#endif

/* An array, from its innermost dimension. */
typedef struct nsa_walk {
  uint64_t odd;
  uint64_t count, last; /* elements, and how far the last one is */
} nsa_walk;

NSA_STRAIGHT void nsa_walk_begin(nsa_walk *walk) {
  walk->odd = walk->last = 0;
  walk->count = 1;
}

/* The next dimension; `wanted` is what the port says of it. */
NSA_STRAIGHT void nsa_walk_dim(nsa_walk *walk, int64_t shape, int64_t strides,
                               int64_t wanted_size, int64_t wanted_stride,
                               int is_out) {
  uint64_t size = (uint64_t)shape, stride = (uint64_t)strides;
  walk->odd |= ((size - 1) | stride) >> 31;
  if (wanted_size != NSA_ANY)
    walk->odd |= size ^ (uint64_t)wanted_size;
  if (wanted_stride == NSA_CONTIGUOUS)
    walk->odd |= stride ^ walk->count;
  else if (wanted_stride != NSA_ANY)
    walk->odd |= stride ^ (uint64_t)wanted_stride;
  if (is_out)
    walk->odd |= stride <= walk->last;
  walk->last += stride * (size - 1);
  walk->count *= size;
  walk->odd |= (walk->last >> 48) | (walk->count >> 31);
}

/* After its dimensions: adds its byte range to the regions, but of an optional
 * array that is not there. The alignment is a power of two. */
NSA_STRAIGHT uint64_t nsa_walk_end(const nsa_walk *walk, uint64_t base,
                                   int64_t item_size, int64_t alignment,
                                   int is_optional, nsa_region *regions,
                                   size_t *count) {
  nsa_region *region = &regions[*count];
  uint64_t odd =
      walk->odd | ((base - 1) >> 62) | (base & ((uint64_t)alignment - 1));
  region->lowest = base;
  region->span = (int64_t)((walk->last + 1) * (uint64_t)item_size);
  *count += !is_optional || base != 0;
  return is_optional && base == 0 ? 0 : odd;
}

/* floordiv, ceildiv and mod of size expressions. */
NSA_STRAIGHT int64_t nsa_floordiv(int64_t a, int64_t b) {
  int64_t rest;
  return nsa_divide(a, b, &rest);
}
NSA_STRAIGHT int64_t nsa_ceildiv(int64_t a, int64_t b) {
  int64_t rest, result = nsa_divide(a, b, &rest);
  return result + (rest != 0);
}
NSA_STRAIGHT int64_t nsa_mod(int64_t a, int64_t b) {
  int64_t rest;
  nsa_divide(a, b, &rest);
  return rest;
}

/* The blocks of rows times columns in tiles: nsa_add_blocks of none. */
NSA_STRAIGHT int64_t nsa_tiles(int64_t rows, int64_t columns, int64_t tile_rows,
                               int64_t tile_columns) {
  int64_t tiles;
  if (rows <= 0 || columns <= 0)
    return 0;
  if (__builtin_mul_overflow(nsa_ceildiv(rows, tile_rows),
                             nsa_ceildiv(columns, tile_columns), &tiles) ||
      tiles > NSA_MAX_SIZE)
    return NSA_MAX_SIZE + 1;
  return tiles;
}

/* Whether regions are apart from each other as they are sorted. */
static inline int nsa_are_ascending(const nsa_region *regions, size_t count) {
  uint64_t end = 0;
  size_t i;
  int is_odd = 0;
  for (i = 0; i < count; ++i) {
    is_odd |= regions[i].lowest < end;
    end = regions[i].lowest + (uint64_t)regions[i].span;
  }
  return !is_odd;
}

/* Whether the byte ranges, none of them empty, are apart from each other. */
static inline int nsa_are_apart(nsa_region *regions, size_t count) {
  if (nsa_are_ascending(regions, count))
    return 1;
  nsa_sort_regions(regions, count);
  return nsa_are_ascending(regions, count);
}

#ifdef __cplusplus
}
#endif

#endif /* NSA_C_CHECKS_H */
