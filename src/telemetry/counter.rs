//! Numbers that one thread writes and any thread reads. Writing is a plain load and store without a
//! locked instruction: **only the thread that owns a number may change it**, or changes get lost.
//! There is no snapshot of several numbers: a reader may see one from before and one from after the
//! same event.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A total that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Owner only: adds `more`.
    #[inline]
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// Owner only: adds one.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Owner only: sets it to `value` if that is greater. For totals that are counted elsewhere, and
    /// for maxima.
    #[inline]
    pub fn raise_to(&self, value: u64) {
        if value > self.get() {
            self.0.store(value, Ordering::Relaxed);
        }
    }

    /// The value; any thread.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// A gauge with the value `value`.
    pub const fn at(value: i64) -> Self {
        Gauge(AtomicI64::new(value))
    }

    /// Owner only: adds `more`.
    #[inline]
    pub fn add(&self, more: i64) {
        self.set(self.get().wrapping_add(more));
    }

    /// Owner only: subtracts `less`.
    #[inline]
    pub fn sub(&self, less: i64) {
        self.set(self.get().wrapping_sub(less));
    }

    /// Owner only: adds one.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Owner only: subtracts one.
    #[inline]
    pub fn decrement(&self) {
        self.sub(1);
    }

    /// Owner only: sets it to `value`.
    #[inline]
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value; any thread.
    #[inline]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that rises and falls and has a fraction, such as a rate.
#[derive(Debug, Default)]
pub struct FloatGauge(AtomicU64);

impl FloatGauge {
    /// Owner only: sets it to `value`.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// The value; any thread.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// A closed set of names by which a total is broken down.
pub trait Label: Copy + 'static {
    /// All of them, in the order of [`Label::index`].
    const ALL: &'static [Self];
    /// The index in [`Label::ALL`].
    fn index(self) -> usize;
    /// The name in `/stats` and `/metrics`: lower case, words joined by underscores.
    fn name(self) -> &'static str;
}

/// Most names that a [`Label`] may have; checked at compile time.
pub const MAX_LABELS: usize = 24;

/// A [`Counter`] for each name of `L`.
#[derive(Debug)]
pub struct Labelled<L> {
    counters: [Counter; MAX_LABELS],
    names: std::marker::PhantomData<fn(L)>,
}

impl<L: Label> Default for Labelled<L> {
    fn default() -> Self {
        const { assert!(L::ALL.len() <= MAX_LABELS) }
        Labelled { counters: Default::default(), names: std::marker::PhantomData }
    }
}

impl<L: Label> Labelled<L> {
    /// Owner only: adds one to the total of `label`.
    #[inline]
    pub fn increment(&self, label: L) {
        self.counters[label.index()].increment();
    }

    /// The total of `label`; any thread.
    pub fn get(&self, label: L) -> u64 {
        self.counters[label.index()].get()
    }

    /// The sum over all labels; any thread.
    pub fn total(&self) -> u64 {
        self.counters.iter().map(Counter::get).sum()
    }

    /// All totals now, in the order of [`Label::ALL`].
    pub fn read(&self) -> LabelledFigures<L> {
        LabelledFigures {
            totals: std::array::from_fn(|index| self.counters[index].get()),
            names: std::marker::PhantomData,
        }
    }
}

/// The totals of a [`Labelled`] at one time, or the sum of several.
#[derive(Clone, Debug)]
pub struct LabelledFigures<L> {
    totals: [u64; MAX_LABELS],
    names: std::marker::PhantomData<fn(L)>,
}

impl<L> Default for LabelledFigures<L> {
    fn default() -> Self {
        LabelledFigures { totals: [0; MAX_LABELS], names: std::marker::PhantomData }
    }
}

impl<L: Label> LabelledFigures<L> {
    /// Adds another's totals, label by label.
    pub fn merge(&mut self, other: &Self) {
        for (mine, more) in self.totals.iter_mut().zip(&other.totals) {
            *mine += more;
        }
    }

    /// Each name with its total, in the order of [`Label::ALL`].
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        L::ALL.iter().map(|label| (label.name(), self.totals[label.index()]))
    }

    /// The sum over all labels.
    pub fn total(&self) -> u64 {
        self.totals.iter().sum()
    }
}

impl<L: Label> serde::Serialize for LabelledFigures<L> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.named())
    }
}
