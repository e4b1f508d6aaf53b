//===- DropWrapFlags.cpp - Addresses that may count downwards -------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_DROPWRAPFLAGS
#include "nsa/Conversion/Passes.h"

using namespace mlir;
using namespace nsa;

namespace {
struct DropWrapFlags : public nsa::impl::DropWrapFlagsBase<DropWrapFlags> {
  void runOnOperation() override {
    getOperation()->walk([](Operation *op) {
      if (auto arithmetic = dyn_cast<LLVM::IntegerOverflowFlagsInterface>(op))
        arithmetic.setOverflowFlags(LLVM::IntegerOverflowFlags::none);
      else if (auto address = dyn_cast<LLVM::GEPOp>(op))
        address.setNoWrapFlags(LLVM::GEPNoWrapFlags::none);
    });
  }
};
} // namespace
