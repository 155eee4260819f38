#include "elementary.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace salon::elementary {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity(), kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kHalfPi = 1.57079632679489661923, kLn2 = 0.69314718055994530942;

// 1 / n!, rounded once.
constexpr double inverse_factorial(int n) {
  double product = 1;  // exact up to 22!
  for (int i = 2; i <= n; ++i) product *= i;
  return 1 / product;
}

// The nearest whole number to |x| < 2^51, ties to even.
double nearest(double x) {
  constexpr double kShift = 6755399441055744.0;  // 1.5 * 2^52
  return (x + kShift) - kShift;
}

std::uint64_t bits_of(double x) {
  std::uint64_t bits;
  std::memcpy(&bits, &x, 8);
  return bits;
}

double from_bits(std::uint64_t bits) {
  double x;
  std::memcpy(&x, &bits, 8);
  return x;
}

double power_of_two(int n) { return from_bits(std::uint64_t(n + 1023) << 52); }  // -1022 <= n <= 1023

// |x| <= pi / 4: Taylor series; the first terms left out are below 1e-20.
CosSin series(double x) {
  constexpr int kTerms = 10;
  const double square = x * x;
  double cosine = 0, sine = 0;
  for (int k = kTerms - 1; k >= 0; --k) {
    const double sign = k % 2 ? -1.0 : 1.0;
    cosine = cosine * square + sign * inverse_factorial(2 * k);
    sine = sine * square + sign * inverse_factorial(2 * k + 1);
  }
  return {cosine, sine * x};
}

// x + quarters * pi / 2.
CosSin turned(double x, double quarters) {
  const CosSin base = series(x);
  switch (std::int64_t(quarters) & 3) {
    case 0: return base;
    case 1: return {-base.sin, base.cos};
    case 2: return {-base.cos, -base.sin};
    default: return {base.sin, -base.cos};
  }
}

}  // namespace

// e^x = 2^n e^r with |r| <= ln 2 / 2; ln 2 in two parts, the first of 32 bits, so that n times it is exact.
double exp(double x) {
  if (x != x) return x;
  if (x > 709.79) return kInfinity;
  if (x < -745.14) return 0;
  constexpr double kHigh = 0x1.62e42fefp-1, kLow = 0x1.473de6af278edp-34;
  const double n = nearest(x * (1 / kLn2));
  const double high = x - n * kHigh, low = n * kLow;
  const double r = high - low, rest = (high - r) - low;
  double sum = 0;
  for (int k = 14; k >= 2; --k) sum = sum * r + inverse_factorial(k);
  const double mantissa = 1 + (r + (sum * r * r + rest));
  const int whole = int(n), half = whole / 2;  // two factors: one alone may be out of range
  return mantissa * power_of_two(half) * power_of_two(whole - half);
}

// ln m = 2 artanh((m - 1) / (m + 1)) for m in [1 / sqrt 2, sqrt 2), |s| <= 0.172: the first term left out is below 1e-20.
double log(double x) {
  if (x != x || x == kInfinity) return x;
  if (x < 0) return kNan;
  const std::uint64_t bits = bits_of(x);
  if (bits >> 52 == 0) return -kInfinity;  // zero, and what a FloatMode takes for it
  double mantissa = from_bits((bits & 0x000fffffffffffffu) | 0x3fe0000000000000u);  // in [1/2, 1)
  double power = double(std::int64_t(bits >> 52) - 1022);
  if (mantissa < 0.70710678118654752440) {
    mantissa *= 2;
    power -= 1;
  }
  constexpr int kTerms = 13;
  const double s = (mantissa - 1) / (mantissa + 1), square = s * s;
  double total = 0;
  for (int k = kTerms - 1; k >= 0; --k) total = total * square + 1.0 / (2 * k + 1);
  return 2 * s * total + power * kLn2;
}

// pi / 2 in three parts, the first two of 33 bits, so that their multiples up to 2^20 are exact.
CosSin cos_sin(double x) {
  if (!(std::fabs(x) < kInfinity)) return {kNan, kNan};
  if (std::fabs(x) >= 1048576) x = std::fmod(x, 4 * kHalfPi);  // exact in itself; 2 pi is not
  constexpr double kFirst = 0x1.921fb544p+0, kSecond = 0x1.0b4611a6p-34, kThird = 0x1.3198a2e037073p-69;
  const double quarters = nearest(x * (1 / kHalfPi));
  return turned(((x - quarters * kFirst) - quarters * kSecond) - quarters * kThird, quarters);
}

CosSin cos_sin_turns(double turns) {
  const double quarters = turns * 4, whole = nearest(quarters);
  return turned((quarters - whole) * kHalfPi, whole);
}

}  // namespace salon::elementary
