//===- NSADialect.cpp - The nsa dialect -----------------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/Metadata.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Interfaces/FoldInterfaces.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nsa;

#include "nsa/IR/NSADialect.cpp.inc"
#include "nsa/IR/NSAEnums.cpp.inc"
#include "nsa/IR/NSAInterfaces.cpp.inc"
namespace nsa {
#include "nsa/IR/NSATypeConstraints.cpp.inc"
} // namespace nsa

#define GET_TYPEDEF_CLASSES
#include "nsa/IR/NSATypes.cpp.inc"

namespace {
/// Layouts that have a name are printed once, under that name.
struct NSAOpAsmInterface : public OpAsmDialectInterface {
  using OpAsmDialectInterface::OpAsmDialectInterface;

  AliasResult getAlias(Attribute attr, raw_ostream &os) const override {
    auto layout = dyn_cast<KVLayoutAttr>(attr);
    if (!layout)
      return AliasResult::NoAlias;
    StringRef name = layout.getName();
    os << (name.empty() ? "kv_layout" : name);
    return AliasResult::OverridableAlias;
  }
};

/// Constants of a formula stay inside of it: steps and segments hold none.
struct NSAFoldInterface : public DialectFoldInterface {
  using DialectFoldInterface::DialectFoldInterface;

  bool shouldMaterializeInto(Region *region) const override {
    return isa<FormulaOpInterface>(region->getParentOp());
  }
};
} // namespace

void NSADialect::initialize() {
  registerAttributes();
  addInterfaces<NSAOpAsmInterface, NSAFoldInterface>();
  addOperations<
#define GET_OP_LIST
#include "nsa/IR/NSAOps.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "nsa/IR/NSATypes.cpp.inc"
      >();
}

SmallVector<OpFoldResult> nsa::getSizes(OpBuilder &b, Location loc,
                                        Value value) {
  SmallVector<OpFoldResult> sizes;
  int64_t rank = cast<ShapedType>(value.getType()).getRank();
  for (int64_t dim = 0; dim < rank; ++dim)
    sizes.push_back(Size::of(value, dim).materialize(b, loc));
  return sizes;
}

RankedTensorType nsa::getTensorType(ArrayRef<Size> sizes, Type elementType) {
  auto shape = llvm::map_to_vector(sizes, [](const Size &size) {
    // What follows from no array. A negative one is refused by verifiers, which
    // come later.
    int64_t constant =
        size.getSymbols().empty() ? size.getConstant().value_or(-1) : -1;
    return constant < 0 ? ShapedType::kDynamic : constant;
  });
  return RankedTensorType::get(shape, elementType);
}

bool nsa::haveSameRequests(Value lhs, Value rhs, int64_t more) {
  return (Size::of(lhs, 0) + more).isSameAs(Size::of(rhs, 0));
}

LogicalResult nsa::verifyNoUnknownAttrs(Operation *op) {
  for (NamedAttribute attr : op->getDiscardableAttrs())
    if (!attr.getName().getValue().contains('.'))
      return op->emitOpError("has no attribute '")
             << attr.getName().getValue() << "'";
  return success();
}
