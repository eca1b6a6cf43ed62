//! The parts that backends are made of.

use super::super::op::OpList;
use super::*;

#[test]
fn lists_keep_their_order_when_members_leave() {
    let source = Source::new(0);
    let ops: Vec<_> = (0..4).map(|_| Pending::recv(source, 0)).collect();
    let mut list = OpList::default();
    for op in &ops {
        // SAFETY: in no list, and kept until the end.
        unsafe { list.push_back(op.ptr()) };
    }
    for removed in [2, 0, 3] {
        assert!(list.contains(ops[removed].ptr()));
        // SAFETY: in this list.
        unsafe { list.remove(ops[removed].ptr()) };
        assert!(!list.contains(ops[removed].ptr()));
    }
    assert_eq!(list.pop_front(), Some(ops[1].ptr()));
    assert_eq!(list.pop_front(), None);
    assert!(list.is_empty());
}

#[test]
fn a_reactor_that_does_not_exist_is_named_with_those_that_do() {
    let error = "iocp".parse::<ReactorKind>().unwrap_err().to_string();
    assert!(error.contains("\"iocp\"") && error.contains("epoll"), "{error}");
}
