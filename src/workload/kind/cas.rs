//! Compare-and-set: a number that is replaced only where it is still the one that was read.

use redis::{Cmd, Value};

use super::{Request, encode};
use crate::wire::command;

/// Nothing is expected where the first argument is empty. The numbers are compared as they are stored.
const SCRIPT: &str = "local found = redis.call('GET', KEYS[1]); \
                      if found == ARGV[1] or (found == false and ARGV[1] == '') then \
                      redis.call('SET', KEYS[1], ARGV[2]); return 1 else return 0 end";

/// How a number is compared and set.
#[derive(Debug)]
pub enum Compared {
    /// One command, which answers 1 if the expected number was there, else 0.
    Script(Request),
    /// On one connection: WATCH, then GET to see what is there, then these, unless it is not what is expected. Without an
    /// answer to EXEC somebody has written in between.
    Watched {
        /// WATCH of the key.
        watch: Cmd,
        /// MULTI, SET and EXEC.
        transaction: Request,
    },
}

/// Odd numbers are written by WATCH, MULTI and EXEC, even ones by EVAL.
pub(super) fn compared(name: &str, expected: u32, number: u32, size: u32) -> Compared {
    if number.is_multiple_of(2) {
        return Compared::Script(by_script(name, expected, number, size));
    }
    let value = encode(number, size);
    let transaction = vec![command(&["MULTI"]), command(&["SET", name, &value]), command(&["EXEC"])];
    Compared::Watched { watch: command(&["WATCH", name]), transaction }
}

pub(super) fn by_script(name: &str, expected: u32, number: u32, size: u32) -> Request {
    let expected = if expected == 0 { String::new() } else { encode(expected, size) };
    vec![command(&["EVAL", SCRIPT, "1", name, &expected, &encode(number, size)])]
}

/// Whether the number was replaced, by the answer to EVAL or to EXEC.
pub fn replaced(answer: &Value) -> bool {
    matches!(answer, Value::Int(1) | Value::Array(_))
}
