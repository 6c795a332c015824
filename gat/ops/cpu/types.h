// Storage types: float, double, and the two 16-bit formats, which are computed with as float.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace gat::GAT_ISA {

struct bf16 {
  uint16_t bits;
};

struct f16 {
  uint16_t bits;
};

template <class T>
struct ArithmeticOf {
  using type = T;
};
template <>
struct ArithmeticOf<bf16> {
  using type = float;
};
template <>
struct ArithmeticOf<f16> {
  using type = float;
};

// What statistics and sums of values stored as T are kept in.
template <class T>
using Arithmetic = typename ArithmeticOf<T>::type;

template <class To, class From>
inline To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "a bit cast keeps the size");
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

inline float widen(float x) { return x; }
inline double widen(double x) { return x; }
inline float widen(bf16 x) { return bit_cast<float>(uint32_t(x.bits) << 16); }

// Integer arithmetic rather than a machine's own half type: the same everywhere, and vectorised.
inline float widen(f16 x) {
  const uint32_t sign = uint32_t(x.bits & 0x8000) << 16;
  const uint32_t rest = uint32_t(x.bits & 0x7fff) << 13;
  // 2^112 moves the exponent from half's bias to float's, subnormals included.
  const uint32_t finite = bit_cast<uint32_t>(bit_cast<float>(rest) * 0x1p112f);
  const uint32_t infinite = (x.bits & 0x7c00) == 0x7c00 ? 0x7f800000u : 0u;
  return bit_cast<float>(finite | infinite | sign);
}

inline void narrow(float x, float& to) { to = x; }
inline void narrow(double x, double& to) { to = x; }

// To the nearest, ties to even, as torch rounds.
inline void narrow(float x, bf16& to) {
  const uint32_t u = bit_cast<uint32_t>(x);
  const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  to.bits = x == x ? uint16_t(rounded) : uint16_t(0x7fc0);
}

inline void narrow(float x, f16& to) {
  const uint32_t bits = bit_cast<uint32_t>(x);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t u = bits & 0x7fffffffu;
  // Below 2^-14 the sum with a half rounds where half's subnormals do.
  const uint32_t tiny = bit_cast<uint32_t>(bit_cast<float>(u) + 0.5f) - 0x3f000000u;
  const uint32_t normal = (u + 0xc8000fffu + ((u >> 13) & 1u)) >> 13;
  uint32_t half = u < 0x38800000u ? tiny : normal;
  half = u >= 0x477ff000u ? 0x7c00u : half;
  half = u > 0x7f800000u ? 0x7e00u : half;
  to.bits = uint16_t(half | sign);
}

}  // namespace gat::GAT_ISA
