//===- Kernel.cpp - What a launch becomes, for any target -----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Kernel.h"

#include "nsa/Codegen/Elements.h"
#include "nsa/Codegen/KernelParameters.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

using namespace mlir;
using namespace nsa;

LogicalResult nsa::verifyFormed(StepOp step) {
  for (Operation &op : step.getBody().front())
    if (!expect(&op, !isa<CopyMetadataOp>(op),
                "sets to be expanded; run 'nsa-expand-metadata-sets' before") ||
        !expect(&op, !isa<CopyOp>(op),
                "copies to be in launches; run 'nsa-form-launches' before"))
      return failure();
  auto expectTiling = [](SegmentOp segment) {
    return expect(segment, !segment.isCut() || segment.getTiling(),
                  "a tiling; run 'nsa-assign-tiles' before");
  };
  auto expectTiled = [&](LaunchOp launch) {
    return expect(launch, launch.getThreads().has_value(),
                  "a number of threads; run 'nsa-assign-tiles' before") &&
           llvm::all_of(launch.getSegments(), expectTiling);
  };
  return success(llvm::all_of(step.getLaunches(), expectTiled));
}

SmallVector<Type> nsa::getKernelArgumentTypes(ArrayRef<BlockArgument> ports) {
  auto types = llvm::map_to_vector(ports, [](BlockArgument port) -> Type {
    if (port.getType().isIndex())
      return port.getType();
    return getKernelMemRefType(port);
  });
  if (!ports.empty())
    types.append(getPresenceWords(ports).size(),
                 IntegerType::get(ports.front().getContext(), 64));
  return types;
}

/// Computes `size` in the kernel.
static void mapSize(ElementBuilder &builder, Value size, IRMapping &mapping) {
  if (mapping.contains(size))
    return;
  Operation *op = size.getDefiningOp();
  if (auto dim = dyn_cast<tensor::DimOp>(op)) {
    mapping.map(size, builder.dim(dim.getSource(), *dim.getConstantIndex()));
    return;
  }
  for (Value operand : op->getOperands())
    mapSize(builder, operand, mapping);
  builder.b.clone(*op, mapping);
}

Value nsa::emitBlockNumber(Arith &math) {
  return math.apply<gpu::BlockIdOp>(gpu::Dimension::x,
                                    math.b.getIndexAttr(INT32_MAX));
}

void nsa::mapPorts(OpBuilder &b, LaunchOp launch, ArrayRef<BlockArgument> ports,
                   FunctionOpInterface kernel, IRMapping &mapping) {
  DenseMap<BlockArgument, SmallVector<int64_t>> sizes;
  for (const KernelParameter &parameter : getKernelParameters(ports))
    if (parameter.field == KernelParameter::Field::Size)
      sizes[parameter.port].push_back(parameter.dim);
  for (auto [number, port] : llvm::enumerate(ports)) {
    mapping.map(port, kernel.getArgument(number));
    if (port.getType().isIndex())
      continue;
    if (!StepOp::isOut(port.getType()))
      kernel.setArgAttr(number, readOnlyAttrName, b.getUnitAttr());
    if (sizes.contains(port))
      kernel.setArgAttr(number, sizesAttrName,
                        b.getDenseI64ArrayAttr(sizes[port]));
  }

  SmallVector<int64_t> optional;
  for (ArrayRef<BlockArgument> word : getPresenceWords(ports))
    for (BlockArgument port : word)
      optional.push_back(port.getArgNumber());
  if (!optional.empty())
    kernel->setAttr(presenceAttrName, b.getDenseI64ArrayAttr(optional));

  // Sizes are computed where they are first used, whatever order the text has
  // them in.
  ElementBuilder builder(b, launch.getLoc(), mapping, {});
  launch.walk<WalkOrder::PreOrder>([&](Operation *op) {
    for (Value operand : op->getOperands())
      // Others are of formulas.
      if (operand.getType().isIndex() &&
          !launch.getBody().isAncestor(operand.getParentRegion()))
        mapSize(builder, operand, mapping);
  });
}
