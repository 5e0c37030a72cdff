//! Logarithm, exponential, cube root and the normal quantile from IEEE additions, multiplications, divisions and
//! square roots alone, so that they give the same bits on every platform (the C library's do not).

/// The natural logarithm of a positive, normal number.
#[must_use]
pub fn ln(value: f64) -> f64 {
    debug_assert!(value.is_normal() && value > 0.0, "a positive number");
    let bits = value.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i32 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), whose argument is below 0.172 here.
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let mut sum = 0.0;
    for odd in (1..=23_u32).rev().step_by(2) {
        sum = sum * square + 1.0 / f64::from(odd);
    }
    2.0 * ratio * sum + f64::from(exponent) * std::f64::consts::LN_2
}

/// The exponential; its argument is held between -700 and 700.
#[must_use]
pub fn exp(value: f64) -> f64 {
    let value = value.clamp(-700.0, 700.0);
    let power = (value / std::f64::consts::LN_2).round();
    let rest = value - power * std::f64::consts::LN_2;
    let mut sum = 1.0;
    for term in (1..=18_u32).rev() {
        sum = 1.0 + sum * rest / f64::from(term);
    }
    sum * f64::from_bits(((power as i64 + 1023) as u64) << 52)
}

/// The cube root of a number that is not negative.
#[must_use]
pub fn cbrt(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    // Three Newton steps from a root good to some 12 digits.
    let mut root = exp(ln(value) / 3.0);
    for _ in 0..3 {
        root -= (root * root * root - value) / (3.0 * root * root);
    }
    root
}

/// The number that a standard normal variable does not exceed with this probability, strictly between 0 and 1;
/// relative error below 1.2e-9 (P. J. Acklam's rational approximation).
#[must_use]
pub fn normal_quantile(probability: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    fn polynomial(coefficients: &[f64], at: f64) -> f64 {
        coefficients.iter().fold(0.0, |sum, coefficient| sum * at + coefficient)
    }
    const LOW: f64 = 0.02425;
    if probability < LOW {
        let q = (-2.0 * ln(probability)).sqrt();
        polynomial(&C, q) / polynomial(&D, q)
    } else if probability > 1.0 - LOW {
        let q = (-2.0 * ln(1.0 - probability)).sqrt();
        -polynomial(&C, q) / polynomial(&D, q)
    } else {
        let q = probability - 0.5;
        let r = q * q;
        polynomial(&A, r) * q / polynomial(&B, r)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64, relative: f64) {
        assert!((found - expected).abs() <= relative * expected.abs().max(1e-300), "{found} for {expected}");
    }

    #[test]
    fn they_agree_with_the_c_library() {
        for value in [1e-12, 0.3, 0.999, 1.0, 1.5, 2.0, 10.0, 1e9, 1e18] {
            assert!((ln(value) - f64::ln(value)).abs() < 1e-14 * f64::ln(value).abs().max(1.0), "ln {value}");
            near(cbrt(value), f64::cbrt(value), 1e-14);
        }
        for value in [-30.0, -1.0, -1e-9, 0.0, 0.5, 1.0, 3.0, 40.0] {
            near(exp(value), f64::exp(value), 1e-13);
        }
        assert_eq!(cbrt(0.0), 0.0);
    }

    #[test]
    fn the_normal_quantile_meets_known_values() {
        for (probability, quantile) in
            [(0.5, 0.0), (0.975, 1.959_963_985), (0.841_344_746, 1.0), (0.001, -3.090_232_306)]
        {
            assert!((normal_quantile(probability) - quantile).abs() < 1e-7, "{probability}");
        }
    }
}
