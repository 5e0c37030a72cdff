use super::*;

fn message(text: &str) -> String {
    text.parse::<GeneratorSpec>().unwrap_err().to_string()
}

#[test]
fn every_spec_parses_back() {
    for info in GENERATORS {
        let spec: GeneratorSpec = info.name.parse().unwrap();
        assert_eq!(spec.to_string(), info.name);
        let complete = spec.clone().complete();
        let text = complete.to_string();
        for known in info.parameters {
            assert!(text.contains(&format!("{}={}", known.name, known.default)), "{text}");
            assert!(!known.meaning.is_empty());
        }
        assert_eq!(text.parse::<GeneratorSpec>().unwrap(), complete);
        let (mut short, mut long) = (generate(&spec).unwrap(), generate(&complete).unwrap());
        short.name.clear();
        long.name.clear();
        assert_eq!(short, long);
    }
}

#[test]
fn the_registry_is_sorted_and_has_no_twins() {
    let names: Vec<&str> = GENERATORS.iter().map(|info| info.name).collect();
    assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
    for info in GENERATORS {
        assert!(!info.summary.is_empty() && !info.source.is_empty());
        let mut parameters: Vec<&str> = info.parameters.iter().map(|known| known.name).collect();
        parameters.sort_unstable();
        assert!(parameters.windows(2).all(|pair| pair[0] < pair[1]), "{parameters:?}");
    }
}

#[test]
fn spaces_and_order_do_not_matter() {
    let spec: GeneratorSpec = " cholesky ( seed = 3 , tiles=8,ccr=0.50 ) ".parse().unwrap();
    assert_eq!(spec.to_string(), "cholesky(tiles=8,ccr=0.5,seed=3)");
    assert_eq!("lu()".parse::<GeneratorSpec>().unwrap().to_string(), "lu");
    let built = GeneratorSpec::new("cholesky").unwrap().with("tiles", "8").unwrap();
    assert_ne!(built, spec);
    assert_eq!(built.with("ccr", "0.5").unwrap().with("seed", "3").unwrap(), spec);
    assert_eq!(spec.info().name, "cholesky");
}

#[test]
fn a_wrong_spec_says_what_there_is() {
    let unknown = message("choleski(tiles=8)");
    assert!(
        unknown.starts_with(
            "there is no generator `choleski`; did you mean `cholesky`? There are chains, cholesky, "
        ),
        "{unknown}"
    );
    assert!(
        message("star(tiles=8)").starts_with("there is no generator `star`; there are chains, cholesky, ")
    );
    assert_eq!(
        message("cholesky(tile=8)"),
        "`cholesky` has no parameter `tile`; it takes tiles, ccr, bandwidth, work, spread, devices, beta, seed"
    );
    assert_eq!(message("cholesky(tiles=0)"), "`cholesky`: tiles=0 is not a whole number from 1 to 10000");
    assert_eq!(message("cholesky(ccr=-1)"), "`cholesky`: ccr=-1 is not a number from 0 to 1000000");
    assert_eq!(message("cholesky(ccr=NaN)"), "`cholesky`: ccr=NaN is not a number from 0 to 1000000");
    assert_eq!(message("cholesky(seed=1,seed=2)"), "`cholesky`: seed is given twice");
    let pattern = message("task-bench(pattern=star)");
    assert!(pattern.starts_with("`task-bench`: pattern=star is not one of trivial, no_comm, "), "{pattern}");
    for text in ["", "lu(", "lu(tiles)", "lu(tiles=)", "lu(=1)", "lu(tiles=1,)", "lu)", "(tiles=1)", "l u"] {
        assert_eq!(message(text), format!("`{text}` is not of the form name or name(parameter=value,...)"));
    }
}
