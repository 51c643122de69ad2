//! Registers: SET and GET.

use super::Request;
use crate::wire::command;

pub(super) fn write(name: &str, value: &str) -> Request {
    vec![command(&["SET", name, value])]
}

pub(super) fn read(name: &str) -> Vec<String> {
    vec!["GET".to_owned(), name.to_owned()]
}
