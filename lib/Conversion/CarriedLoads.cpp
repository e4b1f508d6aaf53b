//===- CarriedLoads.cpp - Loads ahead of what is made of them -------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CarriedLoads.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace nsa;

/// Whether `op` may be computed later than the loads that it is made of, and
/// under no condition. What asks for `row` may not: that is another one then.
/// Casts to fewer bits stay with a load, which then loads no more.
static bool isLater(Operation &op, Value row) {
  return isPure(&op) && op.getNumRegions() == 0 &&
         !isa<arith::TruncIOp, arith::IndexCastOp, arith::IndexCastUIOp>(op) &&
         !llvm::is_contained(op.getOperands(), row);
}

static ValueRange getYielded(scf::IfOp ifOp) {
  return ifOp.thenYield().getOperands();
}

/// What `ifOp` loads for what it yields, in order; and what makes that of it,
/// last first.
static SetVector<Value> getLoads(scf::IfOp ifOp, Value row,
                                 SmallVector<Operation *> *rest) {
  Block *block = ifOp.thenBlock();
  DenseSet<Value> needed(getYielded(ifOp).begin(), getYielded(ifOp).end());
  SetVector<Value> loads;
  for (Operation &op : llvm::reverse(block->without_terminator())) {
    auto isNeeded = [&](Value result) { return needed.contains(result); };
    if (llvm::none_of(op.getResults(), isNeeded))
      continue;
    if (!isLater(op, row)) {
      for (Value result : llvm::make_filter_range(op.getResults(), isNeeded))
        loads.insert(result);
      continue;
    }
    needed.insert(op.operand_begin(), op.operand_end());
    if (rest)
      rest->push_back(&op);
  }
  return loads;
}

/// `ifOp` with other yields, which are computed in its first region.
static scf::IfOp yieldInstead(scf::IfOp ifOp, ValueRange values) {
  OpBuilder b(ifOp);
  Location loc = ifOp.getLoc();
  Arith math(b, loc);
  auto made = scf::IfOp::create(b, loc, values.getTypes(), ifOp.getCondition(),
                                /*withElse=*/true);
  made.getThenRegion().takeBody(ifOp.getThenRegion());
  made.thenYield()->setOperands(values);
  b.setInsertionPointToEnd(made.elseBlock());
  SmallVector<Value> zeros;
  for (Type type : values.getTypes())
    zeros.push_back(math.zero(type));
  scf::YieldOp::create(b, loc, zeros);
  return made;
}

CarriedLoads::CarriedLoads(scf::IfOp &first, Value row)
    : values(getYielded(first)) {
  auto getBits = [](Value value) -> int64_t {
    Type type = value.getType();
    return type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
  };
  auto sum = [&](ArrayRef<Value> values) {
    return llvm::sum_of(llvm::map_range(values, getBits));
  };
  loads = getLoads(first, row, &rest).takeVector();
  std::reverse(rest.begin(), rest.end());
  isCut = !rest.empty() && !loads.empty() && sum(loads) <= sum(values);
  cut(first, row);
}

void CarriedLoads::cut(scf::IfOp &other, Value row) const {
  if (!isCut)
    return;
  SmallVector<Value> others = getLoads(other, row, nullptr).takeVector();
  assert(llvm::equal(ValueRange(others).getTypes(),
                     ValueRange(loads).getTypes()) &&
         "expected the same computation");
  scf::IfOp made = yieldInstead(other, others);
  other.erase();
  other = made;
}

SmallVector<Value> CarriedLoads::emit(Arith &math, ValueRange carried,
                                      Value isThere) const {
  if (!isCut)
    return carried;
  IRMapping map;
  map.map(loads, carried);
  for (Operation *op : rest)
    math.b.clone(*op, map);
  return llvm::map_to_vector(values, [&](Value value) {
    return math.select(isThere, map.lookupOrDefault(value),
                       math.zero(value.getType()));
  });
}
