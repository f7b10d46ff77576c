use wasmill_sdk::prelude::*;

#[derive(InputRow)]
struct Departure {
    dep_delay: i64,
}

#[transform]
struct Late {
    threshold: std::sync::mpsc::Sender<i64>,
}

impl Transform for Late {
    type Input<'a> = Departure;
    type Output = Keep;

    fn row(&self, _row: Departure, _out: &mut Keep) -> Result<(), Reject> {
        Ok(())
    }
}

fn main() {}
