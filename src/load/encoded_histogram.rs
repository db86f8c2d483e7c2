//! Histograms as text, for reports and logs: HdrHistogram's V2 encoding, compressed and in base64, which
//! its tools for other languages read; and the distribution by percentile that they print and plot
//! (`.hgrm`). Pure.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use std::fmt::Write as _;

/// The text of a histogram.
pub fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("because memory can always be written");
    BASE64_STANDARD.encode(bytes)
}

/// The histogram of a text.
///
/// # Errors
/// The reason in one line, if the text is not an encoded histogram.
pub fn decode(text: &str) -> Result<Histogram<u64>, String> {
    let bytes = BASE64_STANDARD.decode(text).map_err(|error| format!("not base64: {error}"))?;
    Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| format!("not a V2 histogram: {error}"))
}

/// The values of both texts as one text. What cannot be decoded is left out.
pub fn merged(first: &str, second: &str) -> String {
    match (decode(first), decode(second)) {
        (Ok(mut all), Ok(more)) => match all.add(more) {
            Ok(()) => encode(&all),
            Err(_) => first.to_owned(),
        },
        (Err(_), Ok(_)) => second.to_owned(),
        (Ok(_) | Err(_), _) => first.to_owned(),
    }
}

/// Steps of the distribution for each halving of the distance to 100 %; as in HdrHistogram's own tools.
const STEPS_PER_HALVING: u32 = 5;
/// The histograms count microseconds, the distribution shows milliseconds.
const UNITS_PER_MS: f64 = 1000.0;

/// The distribution of a histogram of microseconds by percentile, in milliseconds, in the format of
/// `outputPercentileDistribution` of HdrHistogram 2 (`.hgrm`).
pub fn percentile_distribution(histogram: &Histogram<u64>) -> String {
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut total = 0;
    for step in histogram.iter_quantiles(STEPS_PER_HALVING) {
        total += step.count_since_last_iteration();
        let (value, quantile) =
            (step.value_iterated_to() as f64 / UNITS_PER_MS, step.quantile_iterated_to());
        let _ = match quantile < 1.0 {
            true => {
                let inverse = 1.0 / (1.0 - quantile);
                writeln!(text, "{value:12.3} {quantile:2.12} {total:10} {inverse:14.2}")
            }
            false => writeln!(text, "{value:12.3} {quantile:2.12} {total:10}"),
        };
    }
    let [mean, deviation, max] =
        [histogram.mean(), histogram.stdev(), histogram.max() as f64].map(|us| us / UNITS_PER_MS);
    // Twice the values that the precision distinguishes (HdrHistogram, AbstractHistogram.java).
    let sub_buckets = (2 * 10u64.pow(histogram.sigfig().into())).next_power_of_two();
    let (count, buckets) = (histogram.len(), histogram.buckets());
    let _ = write!(
        text,
        "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]\n\
         #[Max     = {max:12.3}, Total count    = {count:12}]\n\
         #[Buckets = {buckets:12}, SubBuckets     = {sub_buckets:12}]\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::measure::{Recorder, TimeMetric};
    use proptest::prelude::*;
    use std::time::Duration;

    fn histogram(micros: &[u64]) -> Histogram<u64> {
        let mut recorder = Recorder::default();
        for micros in micros {
            recorder.record_time(TimeMetric::Relay, Duration::from_micros(*micros));
        }
        recorder.histogram(TimeMetric::Relay).clone()
    }

    proptest! {
        #[test]
        fn merged_texts_have_the_percentiles_of_one_histogram_with_all_values(
            parts in prop::collection::vec(prop::collection::vec(1u64..130_000_000, 0..80), 1..6)
        ) {
            let whole = histogram(&parts.concat());
            let text = parts.iter().map(|part| encode(&histogram(part)));
            let text = text.reduce(|all, part| merged(&all, &part)).unwrap();
            prop_assert_eq!(&text, &encode(&whole));
            let merged = decode(&text).unwrap();
            prop_assert_eq!(merged.len(), whole.len());
            for quantile in [0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0] {
                let (of_parts, of_all) =
                    (merged.value_at_quantile(quantile), whole.value_at_quantile(quantile));
                prop_assert_eq!(of_parts, of_all, "{}", quantile);
            }
        }
    }

    /// All encodings of version 2 with compression begin with the same cookie.
    #[test]
    fn the_text_is_the_compressed_v2_encoding() {
        let text = encode(&histogram(&[1000, 2000]));
        assert!(text.starts_with("HISTFAAAA"), "{text}");
        assert!(decode("HISTFAAAAAAA").unwrap_err().contains("not a V2 histogram"));
        assert!(decode("{}").unwrap_err().contains("not base64"));
    }

    #[test]
    fn the_distribution_has_the_format_of_hdrhistograms_tools() {
        let text = percentile_distribution(&histogram(&[1000, 1000, 1000, 4000]));
        let expected = "       Value     Percentile TotalCount 1/(1-Percentile)

       1.000 0.000000000000          3           1.00
       1.000 0.100000000000          3           1.11
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("\n       4.001 1.000000000000          4\n#[Mean    = "), "{text}");
        assert!(text.contains("SubBuckets     =         2048]\n"), "{text}");
    }
}
