//! Which backends do what is asked of files.

use super::*;

pub(super) fn files_are_taken_by_completion_kernels_alone(reactor: &mut Reactor) {
    // Linux 5.6 knows these, and io_uring is used from 5.13 on.
    let early = [
        FileVerb::Open,
        FileVerb::Close,
        FileVerb::Read,
        FileVerb::Write,
        FileVerb::Sync,
    ];
    assert_eq!(
        early.map(|verb| reactor.takes(verb)),
        [reactor.kind() == ReactorKind::IoUring; 5]
    );
}
