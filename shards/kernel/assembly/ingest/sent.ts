/**
 * For which shards a series' key has been sent to whom. Series mostly share that, so each holds the number of a *state*
 * (0: nothing was sent), and states are kept once: the two shards used last, since late rows go to the one before, each as
 * the host's token for it and a bit per destination. A state never changes; a series goes from one to another.
 *
 * State: 0 u32 token  4 u32 token before  8 u16 destinations for the token  10 u16 for the one before
 */
const STATE_BYTES: usize = 12;
/** Numbers have 16 bits. When there are no more, nothing is noted for those that would need one: they are sent again. */
const STATES_MAX: u32 = 65536;
const SLOTS_INITIAL: u32 = 64;

let states: usize = 0;
let count: u32 = 0;
/** Numbers of states by their hash, 0: none. */
let slots: usize = 0;
let mask: u32 = 0;

/** What followed which state when it was asked last, for one token and its destinations. */
const MEMO: u32 = 64;
const memoFrom: usize = memory.data(64 * 4, 8);
const memoTo: usize = memory.data(64 * 4, 8);
let memoToken: u32 = 0;
let memoDestinations: u32 = 0;
/** Beside the number of a state: all destinations had the key. */
const HAD: u32 = 1 << 16;

export function startSent(): void {
  states = heap.alloc(<usize>SLOTS_INITIAL * STATE_BYTES);
  memory.fill(states, 0, STATE_BYTES);
  count = 1;
  slots = heap.alloc(<usize>SLOTS_INITIAL << 1);
  memory.fill(slots, 0, <usize>SLOTS_INITIAL << 1);
  mask = SLOTS_INITIAL - 1;
}

/** Of STATES_MAX: when few are left, the kernel is to be replaced. */
export function sentStates(): u32 {
  return count;
}

/** `stateOf` it: the state behind `from` when the key was sent to `destinations` for the token; `hadAll`: they had had it. */
@inline
export function afterSent(from: u32, token: u32, destinations: u32): u32 {
  const place = <usize>(from & (MEMO - 1)) << 2;
  if (token == memoToken && destinations == memoDestinations && load<u32>(memoFrom + place) == from + 1) {
    return load<u32>(memoTo + place);
  }
  return lookUpAfter(from, token, destinations);
}

@inline
export function stateOf(after: u32): u32 {
  return after & (HAD - 1);
}

@inline
export function hadAll(after: u32): bool {
  return (after & HAD) != 0;
}

/** Whether somebody is noted to have had the key for the token. */
export function anySent(state: u32, token: u32): bool {
  const at = states + <usize>state * STATE_BYTES;
  if (load<u32>(at) == token) return load<u16>(at, 8) != 0;
  return load<u32>(at, 4) == token && load<u16>(at, 10) != 0;
}

function lookUpAfter(from: u32, token: u32, destinations: u32): u32 {
  if (token != memoToken || destinations != memoDestinations) {
    memory.fill(memoFrom, 0, <usize>MEMO << 2);
    memoToken = token;
    memoDestinations = destinations;
  }
  const at = states + <usize>from * STATE_BYTES;
  let sent = <u32>load<u16>(at, 8);
  let other = load<u32>(at, 4);
  let otherSent = <u32>load<u16>(at, 10);
  if (load<u32>(at) != token) {
    const before = other == token ? otherSent : 0;
    other = load<u32>(at);
    otherSent = sent;
    sent = before;
  }
  const had: u32 = (sent & destinations) == destinations ? HAD : 0;
  const after = had | numberOf(token, sent | destinations, other, otherSent);
  const place = <usize>(from & (MEMO - 1)) << 2;
  store<u32>(memoFrom + place, from + 1);
  store<u32>(memoTo + place, after);
  return after;
}

/** Found or made; 0 when there are too many. */
function numberOf(token: u32, sent: u32, other: u32, otherSent: u32): u32 {
  const both = sent | (otherSent << 16);
  let slot = hashOf(token, other, both) & mask;
  for (; ; slot = (slot + 1) & mask) {
    const known = <u32>load<u16>(slots + (<usize>slot << 1));
    if (known == 0) break;
    const at = states + <usize>known * STATE_BYTES;
    if (load<u32>(at) == token && load<u32>(at, 4) == other && load<u32>(at, 8) == both) return known;
  }
  if (count == STATES_MAX) return 0;
  const at = states + <usize>count * STATE_BYTES;
  store<u32>(at, token);
  store<u32>(at, other, 4);
  store<u32>(at, both, 8);
  store<u16>(slots + (<usize>slot << 1), <u16>count);
  count++;
  if (count * 2 > mask) grow();
  return count - 1;
}

/** Twice as many slots, and states to fill half of them. */
function grow(): void {
  mask = mask * 2 + 1;
  heap.free(slots);
  const bytes = (<usize>mask + 1) << 1;
  slots = heap.alloc(bytes);
  memory.fill(slots, 0, bytes);
  states = heap.realloc(states, (<usize>mask + 1) * STATE_BYTES);
  for (let number: u32 = 1; number < count; number++) {
    const at = states + <usize>number * STATE_BYTES;
    let slot = hashOf(load<u32>(at), load<u32>(at, 4), load<u32>(at, 8)) & mask;
    while (load<u16>(slots + (<usize>slot << 1)) != 0) slot = (slot + 1) & mask;
    store<u16>(slots + (<usize>slot << 1), <u16>number);
  }
}

function hashOf(token: u32, other: u32, both: u32): u32 {
  const hash = ((<u64>token << 32) | <u64>other) * 0x9e3779b185ebca87 + <u64>both * 0xc2b2ae3d27d4eb4f;
  return <u32>((hash ^ (hash >> 29)) >> 16);
}
