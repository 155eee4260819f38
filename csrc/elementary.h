// Elementary functions whose bits are the same on every machine: additions, multiplications, divisions and comparisons in
// double precision, which IEEE 754 defines to the last bit, in a fixed order (-ffp-contract=off). The C library's and
// numpy's own choose other code on other CPUs, and differ in the last bit. All are to be called in a FloatMode.
#pragma once

namespace salon::elementary {

struct CosSin {
  double cos, sin;
};

double exp(double x);                  // error below 1 ulp
double log(double x);                  // error below 3 ulp; -infinity for 0, NaN below
CosSin cos_sin(double x);              // radians; error below 1 ulp of 1 for |x| < 2^20, further off beyond; NaN for infinity
CosSin cos_sin_turns(double turns);    // of 2 pi turns, 0 <= turns < 1

}  // namespace salon::elementary
