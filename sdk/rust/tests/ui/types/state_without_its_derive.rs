use wasmill_sdk::prelude::*;

#[derive(InputRow)]
struct Row {}

struct Memory {
    count: i64,
}

#[keyed]
struct Count;

impl Keyed for Count {
    type Key<'a> = String;
    type Input<'a> = Row;
    type State = Memory;
    type Timer = ();
    type Output = Keep;

    fn row(&self, _: &String, memory: &mut Memory, _: Row, _: &mut Context<Self>) -> Result<(), Reject> {
        memory.count += 1;
        Ok(())
    }
}

fn main() {}
