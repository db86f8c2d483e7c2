//! Line charts as inline SVG in the colours of the page, light and dark. Pure.
//!
//! Plotters writes fixed colours. It gets placeholder colours, which are then replaced by the CSS
//! variables of the page.

use super::text::number;
use plotters::prelude::*;

/// Placeholder colours, and the CSS variables that replace them.
const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const PLACEHOLDERS: [(&str, &str); 8] = [
    ("#010101", "var(--muted)"),
    ("#020202", "var(--line)"),
    ("#030303", "var(--s1)"),
    ("#040404", "var(--s2)"),
    ("#050505", "var(--s3)"),
    ("#060606", "var(--s4)"),
    ("#070707", "var(--s5)"),
    ("#080808", "var(--s6)"),
];
const SERIES_COLOURS: usize = 6;

const WIDTH: u32 = 640;
const HEIGHT: u32 = 210;
const LABEL_PIXELS: i32 = 13;

/// One line of a chart; it is interrupted between segments.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ChartSeries {
    pub(super) name: String,
    pub(super) segments: Vec<Vec<(f64, f64)>>,
}

impl ChartSeries {
    fn points(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.segments.iter().flatten().copied()
    }

    /// Whether the line has no points.
    pub(super) fn is_empty(&self) -> bool {
        self.segments.iter().all(Vec::is_empty)
    }
}

/// What the horizontal axis shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HorizontalAxis {
    /// Seconds since the start of the test.
    Time,
    /// Percentiles; the coordinate is log₁₀(1 ÷ share of the values above).
    Percentile,
    /// Numbers of trials.
    TrialNumber,
}

/// A line chart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) unit: &'static str,
    pub(super) x_axis: HorizontalAxis,
    /// Whether the vertical axis is logarithmic, as for latencies.
    pub(super) logarithmic: bool,
    /// Range of the horizontal axis; that of the data if `None`.
    pub(super) x_range: Option<(f64, f64)>,
    /// Horizontal coordinates at which a new run begins.
    pub(super) run_starts: Vec<f64>,
    pub(super) series: Vec<ChartSeries>,
}

impl Chart {
    /// The chart as an HTML figure with a legend; `None` if no line has a point.
    pub(super) fn figure(&self) -> Option<String> {
        if self.series.iter().all(ChartSeries::is_empty) {
            return None;
        }
        // Colours go by position and not by what is drawn, so a line has the same colour in every
        // report.
        let svg = self.svg(&self.series.iter().collect::<Vec<_>>())?;
        let mut legend = String::new();
        for (i, one) in self.series.iter().enumerate().filter(|(_, one)| !one.is_empty()) {
            let colour = i % SERIES_COLOURS + 1;
            legend += &format!(
                "<span><i style=\"background:var(--s{colour})\"></i>{}</span>",
                super::html::escape(&one.name)
            );
        }
        let title = super::html::escape(&self.title);
        Some(format!(
            "<figure><figcaption><b>{title}</b><small>{}</small><div class=\"legend\">{legend}</div>\
             </figcaption>{svg}</figure>\n",
            self.unit
        ))
    }

    fn svg(&self, series: &[&ChartSeries]) -> Option<String> {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
            let of_data = min_max(series.iter().flat_map(|s| s.points()).map(|p| p.0))?;
            let (left, right) = self.x_range.unwrap_or(of_data);
            let right = if right > left { right } else { left + 1.0 };
            let scale = self.time_unit(right);
            let x_range = left * scale.0..right * scale.0;
            let (low, high) = min_max(series.iter().flat_map(|s| s.points()).map(|p| p.1))?;
            let drawn = if self.logarithmic {
                let low = 10f64.powf(low.max(1e-3).log10().floor());
                let high = 10f64.powf(high.max(low * 10.0).log10().ceil());
                self.draw_on(&area, (x_range, scale), (low..high).log_scale(), series)
            } else {
                let high = if high > 0.0 { high * 1.08 } else { 1.0 };
                self.draw_on(&area, (x_range, scale), 0.0..high, series)
            };
            drawn.ok()?;
            area.present().ok()?;
        }
        Some(self.use_page_style(svg))
    }

    fn draw_on<'a, Y>(
        &self,
        area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
        (x_range, (second, unit)): (std::ops::Range<f64>, (f64, &str)),
        y_range: Y,
        series: &[&ChartSeries],
    ) -> Result<(), DrawingAreaErrorKind<std::io::Error>>
    where
        Y: plotters::coord::ranged1d::AsRangedCoord<Value = f64>,
        Y::CoordDescType: plotters::coord::ranged1d::ValueFormatter<f64>,
    {
        let mut chart = ChartBuilder::on(area)
            .margin_top(8)
            .margin_right(14)
            .x_label_area_size(26)
            .y_label_area_size(58)
            .build_cartesian_2d::<_, Y>(x_range, y_range)?;
        let label = ("sans-serif", LABEL_PIXELS, &INK).into_text_style(area);
        let format_x = |x: &f64| self.x_label(*x, unit);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(GRID)
            .x_labels(8)
            .y_labels(5)
            .label_style(label)
            .x_label_formatter(&format_x)
            .y_label_formatter(&|y| axis_label(*y))
            .draw()?;
        let (bottom, top) = {
            let range = chart.y_range();
            (range.start, range.end)
        };
        for start in &self.run_starts {
            let x = start * second;
            chart.draw_series(LineSeries::new([(x, bottom), (x, top)], GRID))?;
        }
        for (i, one) in series.iter().enumerate() {
            let shade = (i % SERIES_COLOURS) as u8 + 3;
            let colour = RGBColor(shade, shade, shade);
            for segment in &one.segments {
                let style = ShapeStyle::from(&colour).stroke_width(2);
                let floor = bottom.max(f64::MIN_POSITIVE);
                let points = segment.iter().map(|(x, y)| (x * second, y.max(floor.min(top))));
                if segment.len() == 1 {
                    let dots = points.map(|point| Circle::new(point, 3, colour.filled()));
                    chart.draw_series(dots)?;
                } else {
                    chart.draw_series(LineSeries::new(points, style))?;
                }
            }
        }
        Ok(())
    }

    /// The length of a second on a time axis, and the axis' unit. With it the marks are at round
    /// numbers.
    fn time_unit(&self, end: f64) -> (f64, &'static str) {
        match self.x_axis {
            HorizontalAxis::Time if end < 180.0 => (1.0, "s"),
            HorizontalAxis::Time if end < 3.0 * 3600.0 => (1.0 / 60.0, "min"),
            HorizontalAxis::Time => (1.0 / 3600.0, "h"),
            HorizontalAxis::Percentile | HorizontalAxis::TrialNumber => (1.0, ""),
        }
    }

    fn x_label(&self, x: f64, unit: &str) -> String {
        match self.x_axis {
            HorizontalAxis::Time => format!("{} {unit}", axis_label(x)),
            HorizontalAxis::Percentile => {
                let percent = 100.0 * (1.0 - 10f64.powf(-x));
                format!("{} %", (percent * 1e4).round() / 1e4)
            }
            // There is no trial 1.5.
            HorizontalAxis::TrialNumber if x == x.trunc() => number(x),
            HorizontalAxis::TrialNumber => String::new(),
        }
    }

    /// Gives the drawing the page's colours and fonts, and lets it scale.
    fn use_page_style(&self, svg: String) -> String {
        let label = super::html::escape(&self.title);
        let begin = format!("<svg width=\"{WIDTH}\" height=\"{HEIGHT}\" ");
        let mut svg =
            svg.replacen(&begin, &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1);
        for (placeholder, variable) in PLACEHOLDERS {
            svg = svg.replace(placeholder, variable);
        }
        svg.replace(" font-family=\"sans-serif\"", "").replace(" opacity=\"1\"", "")
    }
}

/// The label of a mark on an axis: without trailing zeros, and at most six digits long.
fn axis_label(value: f64) -> String {
    const MILLION: f64 = 1e6;
    let (value, unit) = if value.abs() < MILLION { (value, "") } else { (value / MILLION, " M") };
    let text = number(value);
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{unit}")
}

/// The smallest and the largest value; `None` if there is none.
fn min_max(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((f64::min(low, value), f64::max(high, value))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>, logarithmic: bool) -> Chart {
        Chart {
            title: "Users <&>".to_owned(),
            unit: "count",
            x_axis: HorizontalAxis::Time,
            logarithmic,
            x_range: None,
            run_starts: vec![1.5],
            series: vec![ChartSeries { name: "users".to_owned(), segments: vec![points] }],
        }
    }

    #[test]
    fn every_placeholder_colour_is_replaced() {
        for logarithmic in [false, true] {
            let points = vec![(0.0, 0.5), (1.0, 20.0), (2.0, 700.0)];
            let figure = chart(points, logarithmic).figure().unwrap();
            assert!(figure.contains("var(--s1)") && figure.contains("Users &lt;&amp;&gt;"));
            assert!(!figure.contains("#0"), "a placeholder colour is left: {figure}");
        }
    }

    #[test]
    fn draws_single_points_flat_lines_and_zeros() {
        assert_eq!(chart(vec![], false).figure(), None);
        for logarithmic in [false, true] {
            for points in
                [vec![(0.0, 0.0)], vec![(0.0, 0.0), (0.0, 0.0)], vec![(3.0, 5.0), (9.0, 5.0)]]
            {
                assert!(chart(points, logarithmic).figure().is_some());
            }
        }
    }

    #[test]
    fn the_time_unit_follows_the_length_of_the_run() {
        let chart = chart(vec![], false);
        let label = |x: f64, end: f64| {
            let (second, unit) = chart.time_unit(end);
            chart.x_label(x * second, unit)
        };
        assert_eq!(label(30.0, 60.0), "30 s");
        assert_eq!(label(600.0, 1200.0), "10 min");
        assert_eq!(label(30.0, 506.0), "0.5 min");
        assert_eq!(label(7200.0, 86_400.0), "2 h");
        let percentiles = Chart { x_axis: HorizontalAxis::Percentile, ..chart };
        assert_eq!(percentiles.x_label(3.0, ""), "99.9 %");
        assert_eq!(
            [0.1, 1.0, 2.5, 100.0, 2000.0].map(axis_label),
            ["0.1", "1", "2.5", "100", "2,000"]
        );
        assert_eq!([500_000.0, 1_500_000.0, 2e6].map(axis_label), ["500,000", "1.5 M", "2 M"]);
    }
}
