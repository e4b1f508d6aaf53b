//===- JsonReader.h - Checked access to a JSON document ---------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A JSON value with the way to it, so that every complaint can say where:
// "manifest: arguments[2].dtype: expected a string but got 3". The path becomes
// text only then.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_RUNTIME_JSONREADER_H
#define NSA_LIB_RUNTIME_JSONREADER_H

#include "Error.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>

namespace nsa::runtime {

/// Outlived by the reader that it was got from.
class JsonReader {
public:
  using Json = nlohmann::json;

  explicit JsonReader(const Json &json) : json(json) {}

  template <typename... Parts>
  [[noreturn]] void error(const Parts &...parts) const {
    std::string at = path();
    fail(NSA_MANIFEST, "manifest: ", at, at.empty() ? "" : ": ", parts...);
  }

  [[noreturn]] void expected(const char *what) const {
    std::string got = json.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (got.size() > 60)
      got = got.substr(0, 60) + "...";
    error("expected ", what, " but got ", got);
  }

  bool isNull() const { return json.is_null(); }
  bool isString() const { return json.is_string(); }
  bool isInteger() const { return json.is_number_integer(); }
  bool isArray() const { return json.is_array(); }

  JsonReader member(const char *key) const {
    std::optional<JsonReader> found = optionalMember(key);
    if (!found)
      error("expected a member '", key, "'");
    return *found;
  }

  /// Nothing where the member is missing or null.
  std::optional<JsonReader> optionalMember(const char *key) const {
    if (!json.is_object())
      expected("an object");
    auto it = json.find(key);
    if (it == json.end() || it->is_null())
      return std::nullopt;
    return JsonReader(*it, this, key, 0);
  }

  size_t size() const {
    if (!json.is_array())
      expected("an array");
    return json.size();
  }

  JsonReader operator[](size_t index) const {
    return JsonReader(json[index], this, nullptr, index);
  }

  const std::string &string() const {
    if (!json.is_string())
      expected("a string");
    return json.get_ref<const std::string &>();
  }

  int64_t integer(int64_t min, int64_t max, const char *what) const {
    bool fits = json.is_number_unsigned()
                    ? json.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)
                    : json.is_number_integer();
    if (!fits)
      expected(what);
    int64_t value = json.get<int64_t>();
    if (value < min || value > max)
      expected(what);
    return value;
  }

  bool boolean() const {
    if (!json.is_boolean())
      expected("true or false");
    return json.get<bool>();
  }

private:
  JsonReader(const Json &json, const JsonReader *parent, const char *key,
             size_t index)
      : json(json), parent(parent), key(key), index(index) {}

  std::string path() const {
    if (!parent)
      return "";
    std::string text = parent->path();
    if (!key)
      return text + "[" + std::to_string(index) + "]";
    return text.empty() ? key : text + "." + key;
  }

  const Json &json;
  const JsonReader *parent = nullptr;
  /// The member of the parent, or null: its element number `index`.
  const char *key = nullptr;
  size_t index = 0;
};

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_JSONREADER_H
