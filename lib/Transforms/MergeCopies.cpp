//===- MergeCopies.cpp - One copy for all destinations of a value ---------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_MERGECOPIES
#include "nsa/Transforms/Passes.h"

using namespace mlir;
using namespace nsa;

namespace {
struct MergeCopies : public nsa::impl::MergeCopiesBase<MergeCopies> {
  void runOnOperation() override {
    // Copies write to different ports (StepOp C5) and read values only, so any
    // order is right. That of the ports makes one kernel of all texts that
    // store the same values to the same ports.
    Block &body = getOperation().getBody().front();
    SmallVector<SmallVector<CopyOp>> groups;
    DenseMap<Value, SmallVector<size_t>> groupsOf;
    for (CopyOp copy : body.getOps<CopyOp>()) {
      SmallVector<size_t> &numbers = groupsOf[copy.getValue()];
      size_t *number = llvm::find_if(numbers, [&](size_t number) {
        return copy.storesSame(groups[number].front());
      });
      if (number == numbers.end()) {
        number = &numbers.emplace_back(groups.size());
        groups.emplace_back();
      }
      groups[*number].push_back(copy);
    }

    SmallVector<CopyOp> merged;
    for (ArrayRef<CopyOp> group : groups) {
      CopyOp first = merged.emplace_back(group.front());
      SmallVector<Value> destinations;
      for (CopyOp copy : group)
        llvm::append_range(destinations, copy.getDestinations());
      llvm::sort(destinations, StepOp::isBefore);
      first.getDestinationsMutable().assign(destinations);
      if (group.size() == 1)
        continue;
      for (CopyOp copy : llvm::drop_begin(group))
        copy.erase();
      remark::passed(first.getLoc(), remarkBy("MergeCopies"))
          << remark::add("merged {0} copies into one with {1} destinations",
                         group.size(), destinations.size());
    }

    llvm::sort(merged, [](CopyOp lhs, CopyOp rhs) {
      return StepOp::isBefore(lhs.getDestinations().front(),
                              rhs.getDestinations().front());
    });
    for (CopyOp copy : merged)
      copy->moveBefore(&body, body.end());
  }
};
} // namespace
