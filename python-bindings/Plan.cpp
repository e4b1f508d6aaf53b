//===- Plan.cpp - Planning as Python sees it ------------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Plan.h"
#include "Errors.h"
#include "Steps.h"
#include "nsa/Runtime/Plan.h"

namespace nb = nanobind;
using namespace nb::literals;
using namespace nsa;
using namespace nsa::python;

static int64_t numberOf(nb::handle value, const char *argument) {
  return integerOf(value, argument, "an integer of 64 bits");
}

/// A count, or NSA_PLAN_NONE for None.
static int64_t countOrNone(nb::handle value, const char *argument) {
  if (value.is_none())
    return NSA_PLAN_NONE;
  int64_t count = numberOf(value, argument);
  if (count < 0)
    raiseFor(PyExc_ValueError, argument,
             "expected 0 or more, or None, but got " + std::to_string(count));
  return count;
}

static std::vector<int64_t> numbersOf(nb::handle values, const char *argument) {
  nb::object sequence = nb::steal(PyObject_GetIter(values.ptr()));
  if (!sequence.is_valid()) {
    if (!PyErr_ExceptionMatches(PyExc_TypeError))
      throw nb::python_error();
    raiseFor(PyExc_TypeError, argument,
             std::string("expected integers but got ") +
                 typeNameOf(values));
  }
  std::vector<int64_t> numbers;
  for (nb::handle value : sequence)
    numbers.push_back(numberOf(value, argument));
  return numbers;
}

static nsa_mode modeOf(nb::handle mode) {
  if (!nb::isinstance<nb::str>(mode))
    raiseFor(PyExc_TypeError, "mode",
             std::string("expected a str but got ") +
                 typeNameOf(mode));
  return plan::modeFromName(utf8Of(mode));
}

void nsa::python::registerPlan(nb::module_ &m) {
  m.def("plan_implementation", [](nb::handle mode) {
    bool isPrefill =
        plan::implementation(modeOf(mode)) == NSA_IMPLEMENTATION_PREFILL;
    return isPrefill ? "prefill" : "decode";
  });
  m.def("plan_row_bound", [](nb::handle mode, nb::handle bs, nb::handle nextN) {
    return plan::rowBound(modeOf(mode), numberOf(bs, "bs"),
                          numberOf(nextN, "next_n"));
  });
  m.def("plan_workspace", [](nb::handle numReqs, nb::handle maxSeqLen,
                             nb::handle ratio, nb::handle totalWindow) {
    plan::Workspace made = plan::workspace(
        numberOf(numReqs, "num_reqs"), numberOf(maxSeqLen, "max_seq_len"),
        numberOf(ratio, "ratio"), numberOf(totalWindow, "total_window"));
    return nb::make_tuple(made.c_max, made.rows, made.window_begin);
  });
  m.def(
      "plan_sparse_prefill_usable",
      [](nb::handle extendLens, nb::handle queryRows, nb::handle cpSize,
         nb::handle cpRows) {
        std::optional<std::vector<int64_t>> lens;
        if (!extendLens.is_none())
          lens = numbersOf(extendLens, "extend_lens");
        return plan::sparsePrefillUsable(
            lens, numberOf(queryRows, "query_rows"),
            numberOf(cpSize, "cp_size"), countOrNone(cpRows, "cp_rows"));
      },
      "extend_lens"_a.none(), "query_rows"_a, "cp_size"_a, "cp_rows"_a.none());
  m.def(
      "plan_capture_batch_sizes",
      [](nb::handle candidates, nb::handle tokensPerBs, nb::handle attnTpSize,
         nb::handle attnCpSize, bool gatheredBuffer, bool twoBatchOverlap,
         nb::handle maxRequests) {
        plan::CaptureOptions options;
        options.tokens_per_bs = numberOf(tokensPerBs, "tokens_per_bs");
        options.attn_tp_size = numberOf(attnTpSize, "attn_tp_size");
        options.attn_cp_size = numberOf(attnCpSize, "attn_cp_size");
        options.gathered_buffer = gatheredBuffer;
        options.two_batch_overlap = twoBatchOverlap;
        options.max_requests = countOrNone(maxRequests, "max_requests");
        nb::list sizes;
        for (int64_t size : plan::captureBatchSizes(
                 numbersOf(candidates, "candidates"), options))
          sizes.append(size);
        return sizes;
      },
      "candidates"_a, "tokens_per_bs"_a, "attn_tp_size"_a, "attn_cp_size"_a,
      "gathered_buffer"_a, "two_batch_overlap"_a, "max_requests"_a.none());
}
