//===- GuardedOps.cpp - What records of guards speak of -------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/Codegen/GuardedOps.h"

using namespace mlir;
using namespace nsa;

Location nsa::getNamedLoc(Operation *op) {
  return NameLoc::get(op->getName().getIdentifier(), op->getLoc());
}

std::string GuardedOps::Entry::getPlace() const {
  auto line = loc->findInstanceOf<FileLineColLoc>();
  if (!line)
    return "";
  return (line.getFilename().getValue() + ":" + Twine(line.getLine()) + ":" +
          Twine(line.getColumn()))
      .str();
}

GuardedOps::GuardedOps(StepOp step) {
  step.walk<WalkOrder::PreOrder>([&](Operation *op) {
    // Those of formulas access no array of their own.
    if (!isa<NSADialect>(op->getDialect()) ||
        op->hasTrait<OpTrait::IsTerminator>())
      return;
    Location named = getNamedLoc(op);
    if (!numbers.try_emplace(named, entries.size()).second)
      return;
    // What a segment does for several copies stands under the first one.
    if (isa<CopyOp>(op))
      numbers.try_emplace(op->getLoc(), entries.size());
    entries.push_back({op->getName().getStringRef(), op->getLoc()});
  });
}

int64_t GuardedOps::getNumber(Location loc) const {
  // Of others, the step's.
  return numbers.lookup(loc);
}
