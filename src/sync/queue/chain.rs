//! Those who were called and are still to be told: posted when the lock of their line is free again.

use std::ptr::NonNull;

use super::{Node, links_of};

/// Nodes that were called and have not been posted, the last of them first, linked by `next`. One whose `select` is to be told
/// has itself as its `prev`.
pub(super) struct Chain<T>(Option<NonNull<Node<T>>>);

impl<T> Chain<T> {
    pub(super) const EMPTY: Chain<T> = Chain(None);

    /// Puts one in front that was just taken out of its list.
    pub(super) fn push(&mut self, node: NonNull<Node<T>>, is_chosen: bool) {
        // SAFETY: alive until it is posted.
        let node_ref = unsafe { node.as_ref() };
        // SAFETY: it was called by whoever has this chain.
        let links = unsafe { &mut *node_ref.links.get() };
        links.prev = is_chosen.then_some(node);
        links.next = self.0.replace(node);
    }

    #[inline(never)]
    fn post_all(mut self) {
        // Those in front were called last: turned round, so that all go on in the order in which they were called.
        let (mut ahead, mut rest) = (None, self.0.take());
        while let Some(node) = rest {
            // SAFETY: called by us and not posted, so alive and ours.
            let links = unsafe { links_of(node) };
            rest = std::mem::replace(&mut links.next, ahead);
            ahead = Some(node);
        }
        while let Some(node) = ahead {
            // SAFETY: as above.
            ahead = unsafe { links_of(node) }.next;
            // SAFETY: as above.
            unsafe { Chain::post(node) };
        }
    }

    /// # Safety
    /// `node` was called by the caller, and is not posted.
    #[inline]
    unsafe fn post(node: NonNull<Node<T>>) {
        // SAFETY: alive, by the caller's promise.
        let node = unsafe { node.as_ref() };
        // SAFETY: the caller's.
        let is_chosen = unsafe { &*node.links.get() }.prev.is_some();
        if let (Some((choice, _)), true) = (&node.choice, is_chosen) {
            choice.baton.post();
        }
        node.baton.post_in_line();
    }
}

impl<T> Drop for Chain<T> {
    #[inline]
    fn drop(&mut self) {
        let Some(last) = self.0.take() else { return };
        // SAFETY: called by us and not posted, so alive and ours.
        if unsafe { links_of(last) }.next.is_none() {
            // SAFETY: as above.
            unsafe { Chain::post(last) };
        } else {
            Chain(Some(last)).post_all();
        }
    }
}
