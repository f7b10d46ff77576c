use wasmill_sdk::prelude::*;

struct Departure {
    dep_delay: i64,
}

#[transform]
struct Late;

impl Transform for Late {
    type Input<'a> = Departure;
    type Output = Keep;

    fn row(&self, row: Departure, out: &mut Keep) -> Result<(), Reject> {
        if row.dep_delay > 0 {
            out.keep();
        }
        Ok(())
    }
}

fn main() {}
