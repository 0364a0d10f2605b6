/**
 * Nodes that are linked in one ring, round which the ticks go: each has its `next` and `previous`, two addresses, at `links`. `hand` is the
 * address of the word that names the node which comes next; 0 = the ring is empty.
 */
const PREVIOUS: u32 = 4;

/** The node at the hand, which moves on; 0 where the ring is empty. */
export function nextNode(hand: u32, links: u32): u32 {
  const node = load<u32>(hand);
  if (node) store<u32>(hand, load<u32>(node + links));
  return node;
}

/** Puts a node where the round comes last. */
export function linkNode(hand: u32, links: u32, node: u32): void {
  const next = load<u32>(hand);
  if (!next) {
    store<u32>(node + links, node);
    store<u32>(node + links + PREVIOUS, node);
    store<u32>(hand, node);
    return;
  }
  const last = load<u32>(next + links + PREVIOUS);
  store<u32>(node + links, next);
  store<u32>(node + links + PREVIOUS, last);
  store<u32>(last + links, node);
  store<u32>(next + links + PREVIOUS, node);
}

export function unlinkNode(hand: u32, links: u32, node: u32): void {
  const next = load<u32>(node + links);
  const previous = load<u32>(node + links + PREVIOUS);
  store<u32>(previous + links, next);
  store<u32>(next + links + PREVIOUS, previous);
  if (load<u32>(hand) === node) store<u32>(hand, next === node ? 0 : next);
}

/** Puts the copy of a node, with its links, in the node's place. */
export function replaceNode(hand: u32, links: u32, node: u32, copy: u32): void {
  const next = load<u32>(node + links);
  if (next === node) {
    store<u32>(copy + links, copy);
    store<u32>(copy + links + PREVIOUS, copy);
  } else {
    store<u32>(load<u32>(node + links + PREVIOUS) + links, copy);
    store<u32>(next + links + PREVIOUS, copy);
  }
  if (load<u32>(hand) === node) store<u32>(hand, copy);
}
