//===- FlattenKernelArgs.cpp - Pointers and strides instead of memrefs ----===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_FLATTENKERNELARGS
#include "nsa/Conversion/Passes.h"

#include "Kernel.h"

#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"

using namespace mlir;
using namespace nsa;

/// Adds an argument to `kernel`: a pointer or i64.
static Value addArgument(FunctionOpInterface kernel, Type type,
                         bool isReadOnly) {
  unsigned number = kernel.getNumArguments();
  MLIRContext *context = kernel.getContext();
  SmallVector<NamedAttribute> attrs;
  // An array that is only read overlaps no array that is written: the launcher
  // checks. So its loads may go through the read-only path.
  if (isReadOnly)
    for (StringRef name : {LLVM::LLVMDialect::getNoAliasAttrName(),
                           LLVM::LLVMDialect::getReadonlyAttrName()})
      attrs.emplace_back(StringAttr::get(context, name),
                         UnitAttr::get(context));
  (void)kernel.insertArgument(number, type, DictionaryAttr::get(context, attrs),
                              kernel.getLoc());
  return kernel.getArgument(number);
}

namespace {
/// Returns a kernel's next parameter, of that type, and whether it is the
/// address of an array that is only read.
using NextParameter = function_ref<Value(Type, bool)>;

struct FlattenKernelArgs
    : public nsa::impl::FlattenKernelArgsBase<FlattenKernelArgs> {
  void runOnOperation() override {
    WalkResult result = getOperation()->walk([](Operation *op) {
      auto kernel = dyn_cast<FunctionOpInterface>(op);
      if (!kernel || !op->removeAttr(kernelAttrName))
        return WalkResult::advance();
      if (!expectSizes(kernel))
        return WalkResult::interrupt();
      OpBuilder b(op);
      b.setInsertionPointToStart(&kernel.getFunctionBody().front());
      unsigned count = kernel.getNumArguments();
      if (isa<gpu::GPUFuncOp>(op)) {
        flatten(b, kernel, count, [&](Type type, bool isReadOnly) {
          return addArgument(kernel, type, isReadOnly);
        });
      } else if (isa<func::FuncOp>(op)) {
        // What the entries of an array point at.
        Location loc = kernel.getLoc();
        Type pointer = LLVM::LLVMPointerType::get(b.getContext());
        Value array = addArgument(kernel, pointer, /*isReadOnly=*/false);
        int32_t place = 0;
        flatten(b, kernel, count, [&](Type type, bool) -> Value {
          Value entry = LLVM::GEPOp::create(b, loc, pointer, pointer, array,
                                            ArrayRef<LLVM::GEPArg>{place++});
          Value address = LLVM::LoadOp::create(b, loc, pointer, entry);
          return LLVM::LoadOp::create(b, loc, type, address);
        });
      }
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }

  /// The dimensions of argument `number` whose size the kernel is launched
  /// with.
  static ArrayRef<int64_t> getSizes(FunctionOpInterface kernel,
                                    unsigned number) {
    auto attr = dyn_cast_or_null<DenseI64ArrayAttr>(
        kernel.getArgAttr(number, sizesAttrName));
    return attr ? attr.asArrayRef() : ArrayRef<int64_t>();
  }

  /// Checks that the kernel reads no other size.
  static bool expectSizes(FunctionOpInterface kernel) {
    return expectEach<memref::DimOp>(kernel, [&](memref::DimOp dim) {
      auto argument = dyn_cast<BlockArgument>(dim.getSource());
      std::optional<int64_t> number = dim.getConstantIndex();
      if (argument && number &&
          argument.getOwner() == &kernel.getFunctionBody().front() &&
          (!cast<MemRefType>(argument.getType()).isDynamicDim(*number) ||
           llvm::is_contained(getSizes(kernel, argument.getArgNumber()),
                              *number)))
        return true;
      dim.emitOpError("reads a size that the kernel is not launched with");
      return false;
    });
  }

  /// Makes the first `count` arguments of parameters.
  static void flatten(OpBuilder &b, FunctionOpInterface kernel, unsigned count,
                      NextParameter next) {
    for (unsigned number = 0; number < count; ++number) {
      BlockArgument argument = kernel.getArgument(number);
      Value value;
      if (auto type = dyn_cast<MemRefType>(argument.getType()))
        value = rebuild(b, kernel, number, type, next);
      else if (argument.getType().isInteger(64))
        value = next(argument.getType(), /*isReadOnly=*/false);
      else
        value = arith::IndexCastOp::create(
            b, kernel.getLoc(), argument.getType(),
            next(b.getI64Type(), /*isReadOnly=*/false));
      argument.replaceAllUsesWith(value);
    }
    eraseFirstArguments(kernel, count);
    kernel->removeAttr(presenceAttrName);
  }

  /// Upstream's `eraseArguments` takes a kernel's own memory, which are
  /// arguments of its block as well, for arguments.
  static void eraseFirstArguments(FunctionOpInterface kernel, unsigned count) {
    llvm::BitVector erased(kernel.getNumArguments());
    erased.set(0, count);
    SmallVector<DictionaryAttr> attrs;
    for (unsigned number = count; number < erased.size(); ++number)
      attrs.push_back(kernel.getArgAttrDict(number));
    Type type = kernel.getTypeWithoutArgsAndResults(
        erased, llvm::BitVector(kernel.getNumResults()));
    kernel.getFunctionBody().front().eraseArguments(0, count);
    kernel.setFunctionTypeAttr(TypeAttr::get(type));
    kernel.setAllArgAttrs(attrs);
  }

  /// A memref of `type` from the next parameters. Sizes that the kernel does
  /// not get are never read.
  static Value rebuild(OpBuilder &b, FunctionOpInterface kernel,
                       unsigned number, MemRefType type, NextParameter next) {
    Location loc = kernel.getLoc();
    LLVMTypeConverter converter(b.getContext());
    auto descriptor =
        MemRefDescriptor::poison(b, loc, converter.convertType(type));
    Type pointerType = LLVM::LLVMPointerType::get(b.getContext());
    // What a kernel before this one writes changes while this one is there.
    bool isReadOnly = kernel.getArgAttr(number, readOnlyAttrName) != nullptr &&
                      !kernel->hasAttr(dependentLaunchAttrName);
    Value pointer = next(pointerType, isReadOnly);
    auto nextNumber = [&] { return next(b.getI64Type(), false); };
    descriptor.setAllocatedPtr(b, loc, pointer);
    descriptor.setAlignedPtr(b, loc, pointer);
    descriptor.setConstantOffset(b, loc, 0);
    SmallVector<int64_t> strides = type.getStridesAndOffset().first;
    for (auto [dim, stride] : llvm::enumerate(strides)) {
      if (ShapedType::isDynamic(stride))
        descriptor.setStride(b, loc, dim, nextNumber());
      else
        descriptor.setConstantStride(b, loc, dim, stride);
    }
    SmallVector<int64_t> sizes(getSizes(kernel, number));
    for (int64_t dim = 0; dim < type.getRank(); ++dim) {
      if (!type.isDynamicDim(dim))
        descriptor.setConstantSize(b, loc, dim, type.getDimSize(dim));
      else if (llvm::is_contained(sizes, dim))
        descriptor.setSize(b, loc, dim, nextNumber());
    }
    Value value = descriptor;
    return UnrealizedConversionCastOp::create(b, loc, type, value).getResult(0);
  }
};
} // namespace
