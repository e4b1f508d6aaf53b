//===- ElementGroups.cpp - Elements that are loaded together --------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// The loads of a group wait for nothing but each other, and not for the sum
// before.
//
//===----------------------------------------------------------------------===//

#include "SumElements.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

static constexpr int64_t groupSize = 1 << logGroup;

SmallVector<Value> nsa::emitGroup(ElementBuilder &builder, Value source,
                                  ValueRange row, Value begin, Value end) {
  Type type = getElementTypeOrSelf(source.getType());
  Value last = builder.add(end, builder.index(-1));
  SmallVector<Value> elements;
  for (int64_t number = 0; number < groupSize; ++number) {
    Value place = builder.add(begin, number);
    // Places past the last element are that one, which is there.
    Value inside = builder.minUnsigned(place, last);
    SmallVector<Value> indices(row);
    indices.push_back(inside);
    Value element = builder.element(source, indices);
    elements.push_back(number == 0
                           ? element
                           : builder.select(builder.less(place, end), element,
                                            builder.zero(type)));
  }
  return elements;
}

Value nsa::emitSumOfGroups(ElementBuilder &builder, Value source,
                           ValueRange row, Value begin, Value end, Value sum) {
  return builder.emitFor(
      begin, end, builder.index(groupSize), sum, [&](Value place, Value sum) {
        ElementBuilder inner(builder.b, builder);
        for (Value element : emitGroup(inner, source, row, place, end))
          sum = inner.add(sum, element);
        return sum;
      });
}
