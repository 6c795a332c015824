// Arithmetic on LANES edges at a time. Loops have this fixed length, whatever a row's degree: lanes
// beyond the row's last edge hold a score of -inf, so no loop has a scalar tail.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#include "vectors.h"

namespace gat::GAT_ISA {

constexpr int LANES = 16;

template <class A>
constexpr A INFINITE = std::numeric_limits<A>::infinity();
template <class A>
constexpr A LARGEST = std::numeric_limits<A>::max();

template <class A>
inline A larger(A a, A b) {
  return a > b ? a : b;
}

// exp(x) = power * (1 + rest), power one of 2.
struct Exponential {
  float power, rest;
};

inline Exponential exp_parts(float x) {
  const float shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: rounds to an integer
  const float n = shifted - 12582912.0f;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  // A polynomial for (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2, from Chebyshev nodes.
  float p = 1.9899392e-04f;
  p = p * r + 1.3933733e-03f;
  p = p * r + 8.3332983e-03f;
  p = p * r + 4.1666464e-02f;
  p = p * r + 1.6666667e-01f;
  p = p * r + 5.0000000e-01f;
  const uint32_t exponent = (bit_cast<uint32_t>(shifted) + 127u) << 23;
  return {bit_cast<float>(exponent), p * r * r + r};
}

// exp for x <= 0, to about 1 ulp; 0 below -87, where float has no normal numbers left. NaN stays.
inline float exp_negative(float x) {
  const Exponential e = exp_parts(x);
  return x < -87.0f ? 0.0f : (e.rest + 1.0f) * e.power;
}

inline double exp_negative(double x) { return std::exp(x); }

// exp(x) - 1 for x <= 0, as exact near 0 as elsewhere.
inline float exp_less_one(float x) {
  const Exponential e = exp_parts(x);
  return x < -87.0f ? -1.0f : e.rest * e.power + (e.power - 1.0f);
}

inline double exp_less_one(double x) { return std::expm1(x); }

// tanh through exp; near zero, where that cancels, an odd polynomial.
inline float tanh_of(float x) {
  const float size = x < 0 ? -x : x;
  const float e = exp_negative(-2.0f * size);
  const float far = (1.0f - e) / (1.0f + e);
  const float q = x * x;
  float p = 2.2493165e-03f;
  p = p * q - 8.3051007e-03f;
  p = p * q + 2.1756927e-02f;
  p = p * q - 5.3957776e-02f;
  p = p * q + 1.3333297e-01f;
  p = p * q - 3.3333333e-01f;
  const float near = x + x * q * p;
  return size < 0.625f ? near : (x < 0 ? -far : far);
}

inline double tanh_of(double x) { return std::tanh(x); }

template <class A>
inline A smaller(A a, A b) {
  return a < b ? a : b;
}

template <class A>
inline A highest(const A* lanes) {
  return reduce<LANES>(load<LANES>(lanes), [](auto a, auto b) { return a > b ? a : b; });
}

template <class A>
inline A sum_of(const A* lanes) {
  return total<LANES>(load<LANES>(lanes));
}

// The largest score that T stores.
template <class T>
constexpr Arithmetic<T> LIMIT = LARGEST<Arithmetic<T>>;
template <>
inline constexpr float LIMIT<bf16> = 0x1.fep127f;
template <>
inline constexpr float LIMIT<f16> = 65504.0f;

// A score that overflowed what stores it, T, counts as the largest of its sign. NaN stays.
template <class T>
inline Arithmetic<T> finite_as(Arithmetic<T> x) {
  x = x > LIMIT<T> ? LIMIT<T> : x;
  return x < -LIMIT<T> ? -LIMIT<T> : x;
}

// Within an operator no score is stored: it is cut where the arithmetic ends.
template <class A>
inline A finite(A x) {
  return finite_as<A>(x);
}

// One that was cut does not move with what it was computed from.
template <class T>
inline bool is_cut(Arithmetic<T> x) {
  return x >= LIMIT<T> || x <= -LIMIT<T>;
}

// Dropout by counter, as gat/ops/dropout.py defines it: number `counter` of SplitMix64.
struct Dropout {
  uint64_t seed = 0;
  uint64_t threshold = 0;  // 0: nothing is dropped
  double scale = 1;        // 1 / (1 - p), or 0

  uint64_t number(uint64_t counter) const {
    uint64_t z = seed + (counter + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

  // keep[k] is 1 where the weight of head `head` on the edge numbered edge[k] stays, else 0.
  template <class A>
  void keep(const int64_t* edge, int64_t heads, int64_t head, A* keep) const {
    for (int k = 0; k < LANES; ++k)
      keep[k] = number(uint64_t(edge[k] * heads + head)) >> 32 >= threshold ? A(1) : A(0);
  }
};

}  // namespace gat::GAT_ISA
