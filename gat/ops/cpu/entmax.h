// alpha-entmax of one target's scores: the equation of its threshold, and how it is solved.
//
// gat/ops/reference.py has the definition. Scores come as z = (alpha - 1) (s - highest), at most 0. A
// form says for one value x of the unknown what a score adds to the sums:
//
//   low(n)          below the solution, where the n weights are equal at least
//   terms(z)        the weight, its slope by x, and its room: it is 0 where the room is not above 0
//   at(x)           the form for another x
//   excess(sums)    what the weights sum to, less 1
//   next(sums)      where Newton's step leads
//   settle(sums)    whether the solution is known now, and how far from x it is
//   moved(move)     the form for x + move, two numbers: their sum would lose what small weights need
//   scale(sums)     what terms are multiplied with to be weights
//
// Weights grow with x, from a sum below 1 at low(n) to one above it at x = 1.
#pragma once
#include "lanes.h"

namespace gat::GAT_ISA {

// A NaN is never off: it must reach the weights.
template <class A>
inline bool is_off(A room) {
  return room <= 0;
}

// The natural logarithm for normal numbers above 0, to about 1 ulp. NaN stays.
inline float log_of(float y) {
  // y = 2^k m with m between sqrt(1/2) and sqrt(2).
  const uint32_t bits = bit_cast<uint32_t>(y) + (0x3f800000u - 0x3f3504f3u);
  const float k = float(int32_t(bits >> 23) - 127);
  const float f = bit_cast<float>((bits & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  // The series of 2 artanh(s), odd in s.
  const float s = f / (2.0f + f), q = s * s;
  float p = 2.0f / 9;
  p = p * q + 2.0f / 7;
  p = p * q + 2.0f / 5;
  p = p * q + 2.0f / 3;
  const float small = s * q * p + k * -2.12194440e-4f;
  return y == y ? k * 0.693359375f + (2.0f * s + small) : y;
}

inline double log_of(double y) { return std::log(y); }

// log(1 + x), where the sum is y and 1 / y known: what the sum lost is added again.
inline float log_plus_one(float x, float y, float inverse) {
  return log_of(y) + (x - (y - 1.0f)) * inverse;
}

inline double log_plus_one(double x, double, double) { return std::log1p(x); }

template <class A>
struct Terms {
  A weight, slope, room;
};

template <class A>
struct Sums {
  double weight = 0, slope = 0, count = 0;
  A least = INFINITE<A>;  // the least room of a weight that is not off
};

struct Settled {
  bool known;
  double move;
};

// Whether sums at x tell what lies at x + move: no weight goes to 0 on the way, and of x and z, added
// up as they were rounded at x, enough is left.
template <class A>
bool reaches(const Sums<A>& sums, double x, double move) {
  return move <= 0 && sums.least + move > 0 && x + move > x / 2;
}

// alpha = 2 (Martins and Astudillo 2016, "From Softmax to Sparsemax", Alg. 1): weight = x + z.
template <class A>
struct Sparsemax {
  A x = 1, move = 0;

  A low(int64_t n) const { return A(0.5) / n; }
  Sparsemax at(A to) const { return {to}; }
  Sparsemax moved(double by) const { return {x, A(by)}; }
  Terms<A> terms(A z) const {
    const A room = (x + z) + move;
    return {is_off(room) ? A(0) : room, is_off(room) ? A(0) : A(1), room};
  }
  double excess(const Sums<A>& sums) const { return sums.weight - 1; }
  double next(const Sums<A>& sums) const { return x - excess(sums) / sums.slope; }
  // A line, as long as no weight goes to 0.
  Settled settle(const Sums<A>& sums) const {
    const double by = -excess(sums) / sums.slope;
    return {reaches(sums, x, by), by};
  }
  A scale(const Sums<A>& sums) const { return A(sums.weight == sums.weight ? 1 : sums.weight); }
};

// alpha = 1.5 (Peters et al. 2019, "Sparse Sequence-to-Sequence Models", section 3.2):
// weight = (x + z)^2.
template <class A>
struct Entmax15 {
  A x = 1, move = 0;

  A low(int64_t n) const { return A(0.5 / std::sqrt(double(n))); }
  Entmax15 at(A to) const { return {to}; }
  Entmax15 moved(double by) const { return {x, A(by)}; }
  Terms<A> terms(A z) const {
    const A room = (x + z) + move, root = is_off(room) ? A(0) : room;
    return {root * root, root, room};
  }
  double excess(const Sums<A>& sums) const { return sums.weight - 1; }
  double next(const Sums<A>& sums) const { return x - excess(sums) / (2 * sums.slope); }
  // A parabola, as long as no weight goes to 0; from too far its terms cancel.
  Settled settle(const Sums<A>& sums) const {
    const double whole = sums.slope * sums.slope, square = whole - sums.count * excess(sums);
    const double by = -excess(sums) / (sums.slope + std::sqrt(square));
    return {4 * square >= whole && reaches(sums, x, by), by};
  }
  A scale(const Sums<A>& sums) const { return A(sums.weight == sums.weight ? 1 : sums.weight); }
};

// Any alpha (Peters et al. 2019, eq. 10-14). x is the weight of the highest score; the others are
// x (1 + z / x^(alpha - 1))^(1 / (alpha - 1)). Nothing cancels near alpha = 1, which is softmax. The
// terms leave out the factor x, which the scale brings back.
template <class A>
class Entmax {
 public:
  explicit Entmax(double power, A x = 1)
      : power_(power),
        x_(x),
        inverse_power_(A(1 / power)),
        scale_(A(std::fmin(std::pow(double(x), -power), double(LARGEST<A>)))) {}

  A low(int64_t n) const { return A(0.5) / n; }
  Entmax at(A to) const { return Entmax(power_, to); }
  Entmax moved(double) const { return *this; }
  Terms<A> terms(A z) const {
    const A change = z * scale_, room = 1 + change;
    const bool off = is_off(room);
    const A y = off ? A(1) : room, inverse = 1 / y;
    const A exponent = log_plus_one(off ? A(0) : change, y, inverse) * inverse_power_;
    const A weight = off ? A(0) : exp_negative(exponent);
    return {weight, weight * inverse, room};
  }
  double excess(const Sums<A>& sums) const { return x_ * sums.weight - 1; }
  // For alpha < 2 the logarithms make a straighter line: one evaluation in five less.
  double next(const Sums<A>& sums) const {
    if (power_ >= 1) return x_ - excess(sums) / sums.slope;
    return x_ * std::exp(-std::log1p(excess(sums)) * sums.weight / sums.slope);
  }
  Settled settle(const Sums<A>& sums) const {
    return {std::fabs(excess(sums)) <= 8 * double(std::numeric_limits<A>::epsilon()), 0};
  }
  A scale(const Sums<A>& sums) const { return A(1 / sums.weight); }

 private:
  double power_;
  A x_, inverse_power_, scale_;
};

}  // namespace gat::GAT_ISA
