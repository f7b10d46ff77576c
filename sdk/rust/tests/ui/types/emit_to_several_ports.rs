use wasmill_sdk::prelude::*;

#[derive(InputRow)]
struct Row {}

#[derive(OutputRow)]
struct Seen {
    count: i64,
}

#[derive(Outputs)]
struct Ports {
    main: Only<Seen>,
    other: Only<Seen>,
}

#[keyed]
struct Count;

impl Keyed for Count {
    type Key<'a> = ();
    type Input<'a> = Row;
    type State = i64;
    type Timer = NoTimers;
    type Output = Ports;

    fn row(&self, _: &(), count: &mut i64, _: Row, cx: &mut Context<Self>) -> Result<(), Reject> {
        cx.emit(Seen { count: *count });
        Ok(())
    }
}

fn main() {}
