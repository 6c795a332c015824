// Vectors of W numbers through the compiler's vector extension, which it maps to whatever the
// machine has. Only where its own vectorisation fails: sums over channels, whose order it must not
// change by itself, so that it would add them up one by one.
#pragma once
#include "types.h"

namespace gat::GAT_ISA {

template <class X, int W>
struct VectorOf {
  typedef X type __attribute__((vector_size(W * sizeof(X))));
};
template <class X, int W>
using Vec = typename VectorOf<X, W>::type;

// How many numbers make the widest vector used: 64 bytes.
template <class A>
constexpr int WIDE = 64 / sizeof(A);

template <int W, class X>
inline Vec<X, W> load_bits(const void* from) {
  Vec<X, W> v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

template <int W>
inline Vec<float, W> load(const float* from) {
  return load_bits<W, float>(from);
}
template <int W>
inline Vec<double, W> load(const double* from) {
  return load_bits<W, double>(from);
}
template <int W>
inline Vec<float, W> load(const bf16* from) {
  const auto wide = __builtin_convertvector((load_bits<W, uint16_t>(from)), Vec<uint32_t, W>);
  return bit_cast<Vec<float, W>>(wide << 16);
}
template <int W>
inline Vec<float, W> load(const f16* from) {
  const auto wide = __builtin_convertvector((load_bits<W, uint16_t>(from)), Vec<uint32_t, W>);
  const Vec<uint32_t, W> rest = (wide & 0x7fffu) << 13;
  const Vec<uint32_t, W> finite = bit_cast<Vec<uint32_t, W>>(bit_cast<Vec<float, W>>(rest) * 0x1p112f);
  const Vec<uint32_t, W> infinite = (Vec<uint32_t, W>)((wide & 0x7c00u) == 0x7c00u) & 0x7f800000u;
  return bit_cast<Vec<float, W>>(finite | infinite | ((wide & 0x8000u) << 16));
}

template <int W, class T>
inline void store(Vec<Arithmetic<T>, W> v, T* to) {
  for (int k = 0; k < W; ++k) narrow(v[k], to[k]);
}

template <int W, class A>
inline void add_to(A* to, Vec<A, W> v) {
  v += load<W>(to);
  std::memcpy(to, &v, sizeof v);
}

// combine(a, b) over halves, then halves of those, down to one number.
template <int W, class V, class Combine>
inline auto reduce(V v, const Combine& combine) {
  if constexpr (W == 1) {
    return v[0];
  } else {
    using A = std::decay_t<decltype(v[0])>;
    Vec<A, W / 2> low, high;
    std::memcpy(&low, &v, sizeof low);
    std::memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof low, sizeof high);
    return reduce<W / 2>(combine(low, high), combine);
  }
}

template <int W, class V>
inline auto total(V v) {
  return reduce<W>(v, [](auto a, auto b) { return a + b; });
}

// A number of channels: known to the compiler where C0 is not 0.
template <int C0>
struct Width {
  int64_t given;
  operator int64_t() const { return C0 ? C0 : given; }
};

template <int W>
struct Piece {
  static constexpr int width = W;
};

// body(c, Piece<W>) for pieces of W channels from c on: wide ones, then what remains by halves.
template <class A, int C0, class Body>
inline void for_pieces(Width<C0> width, const Body& body) {
  const int64_t C = width;
  int64_t c = 0;
  for (; c + WIDE<A> <= C; c += WIDE<A>) body(c, Piece<WIDE<A>>());
  if constexpr (WIDE<A> > 8 && C0 % 16 != 8 && C0 != 0) return;
  if constexpr (WIDE<A> > 8)
    if (c + 8 <= C) body(c, Piece<8>()), c += 8;
  if constexpr (C0 == 0) {
    if (c + 4 <= C) body(c, Piece<4>()), c += 4;
    if (c + 2 <= C) body(c, Piece<2>()), c += 2;
    if (c < C) body(c, Piece<1>());
  }
}

}  // namespace gat::GAT_ISA
