//===- MergeCopies.cpp - One copy for all destinations of a value ---------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/Transforms/Passes.h"

#include "mlir/IR/Remarks.h"

namespace nsa {
#define GEN_PASS_DEF_MERGECOPIES
#include "nsa/Transforms/Passes.h.inc"
} // namespace nsa

using namespace mlir;
using namespace nsa;

namespace {
struct MergeCopies : public nsa::impl::MergeCopiesBase<MergeCopies> {
  void runOnOperation() override {
    // Copies write to different ports (StepOp C5) and read values only, so any
    // order is right; the first copy's place keeps the text readable.
    llvm::MapVector<std::pair<Value, int64_t>, SmallVector<CopyOp>> copies;
    for (CopyOp copy : getOperation().getBody().getOps<CopyOp>())
      copies[{copy.getValue(), copy.getFrom()}].push_back(copy);

    for (auto &[key, group] : copies) {
      CopyOp first = group.front();
      if (group.size() == 1)
        continue;
      for (CopyOp copy : llvm::drop_begin(group)) {
        first.getDestinationsMutable().append(copy.getDestinations());
        copy.erase();
      }
      remark::passed(first.getLoc(),
                     remark::RemarkOpts::name("MergeCopies").category("nsa"))
          << remark::add("merged {0} copies into one with {1} destinations",
                         group.size(), first.getDestinations().size());
    }
  }
};
} // namespace
