//! Where kernels put their results.

use arrow::array::BooleanBufferBuilder;

/// Takes the cells of one series, step by step: the value into one buffer, its presence into another.
///
/// The slot of an absent cell holds 0.0, so that no uninitialised or stale number can leak through an Arrow reader that
/// forgets the null mask.
#[derive(Debug)]
pub struct CellSink<'a> {
    values: &'a mut Vec<f64>,
    present: &'a mut BooleanBufferBuilder,
}

impl<'a> CellSink<'a> {
    /// A sink that appends to both buffers. They grow by one for every cell.
    pub fn new(values: &'a mut Vec<f64>, present: &'a mut BooleanBufferBuilder) -> Self {
        Self { values, present }
    }

    /// Appends the cell of the next step; `None` is "no sample".
    #[inline]
    pub fn push(&mut self, cell: Option<f64>) {
        self.values.push(cell.unwrap_or(0.0));
        self.present.append(cell.is_some());
    }

    /// Appends the last cell again, `count` times; nothing if there is none.
    pub(crate) fn repeat_last(&mut self, count: usize) {
        let (Some(value), Some(last)) = (self.values.last().copied(), self.present.len().checked_sub(1)) else {
            return;
        };
        let is_present = self.present.get_bit(last);
        self.values.resize(self.values.len() + count, value);
        self.present.append_n(count, is_present);
    }
}

/// Runs a kernel against a fresh sink and returns its cells; for tests.
#[cfg(test)]
pub(crate) fn collect_cells(kernel: impl FnOnce(&mut CellSink<'_>)) -> Vec<Option<f64>> {
    let mut values = Vec::new();
    let mut present = BooleanBufferBuilder::new(0);
    kernel(&mut CellSink::new(&mut values, &mut present));
    assert_eq!(values.len(), present.len());
    let present = present.finish();
    values.iter().enumerate().map(|(at, value)| present.value(at).then_some(*value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_cell_is_null_and_a_nan_cell_is_a_value() {
        let cells = collect_cells(|out| {
            out.push(Some(1.5));
            out.push(None);
            out.push(Some(f64::NAN));
            out.push(Some(2.0));
            out.repeat_last(1);
            out.push(None);
            out.repeat_last(2);
        });
        assert_eq!(cells.len(), 8);
        assert_eq!(cells[..2], [Some(1.5), None]);
        assert!(cells[2].expect("present").is_nan());
        assert_eq!(cells[3..], [Some(2.0), Some(2.0), None, None, None]);
    }
}
