/**
 * Where everything lies in the linear memory of a kernel. All state hangs on the header at a fixed address: there is no
 * mutable global, no static data and no heap, so a second instance over a copy of the persistent bytes is the same kernel.
 *
 *   0x000000  REGISTERS   results of a call that do not fit into its return value      \
 *   0x001000  RECEIVE     the body of the request                                       |  volatile: neither
 *   0x101000  MARKS       which counters were touched, where somebody watches           |
 *   0x110000  SCRATCH     one record for each operation of the batch at hand            |  checkpointed nor compared
 *   0x180000  ANSWER      the body of the answer                                        |
 *   0x1b8000  DIRTY       which counters were touched lately, where the host wants that |
 *   0x1c0000  TOUCHED     what the body touches, where somebody watches; behind it      |
 *   0x1e8000  GONE_NAMES  the names of those that are gone                              |
 *   0x200000  EMITTED     rows of history that the call has closed                     /
 *   0x600000  HEADER      the struct below, then small directories                     \
 *   0x610000  slot directory   u32 address of each segment of 4,096 slots               |  persistent, up to
 *   0x620000  name index directory   u32 address of each segment of 1,024 buckets       |  header.nextPage
 *   0x630000  pages, handed out in order: slots, buckets, names, producers, windows …  /
 */
export const PAGE: u32 = 65536;

export const REGISTERS: u32 = 0;
export const RECEIVE: u32 = 0x1000;
export const MARKS: u32 = 0x101000;
export const SCRATCH: u32 = 0x110000;
/** In SCRATCH, behind the records of the largest batch of steps: the same steps as the log has them (steps.ts). As much again at most. */
export const LOGGED_STEPS: u32 = SCRATCH + 160000;
/** The end of SCRATCH, behind the records of the largest batch: sketches in the making (uniques.ts, uniques-query.ts). */
export const SKETCHES: u32 = 0x172000;
export const ANSWER: u32 = 0x180000;
export const DIRTY: u32 = 0x1b8000;
export const TOUCHED: u32 = 0x1c0000;
export const GONE_NAMES: u32 = 0x1e8000;
export const EMITTED: u32 = 0x200000;
export const HEADER: u32 = 0x600000;
export const SLOT_DIRECTORY: u32 = 0x610000;
export const NAME_INDEX_DIRECTORY: u32 = 0x620000;
export const FIRST_PAGE: u32 = 0x63;

/** Counters that MARKS has a bit for. */
export const MARKED_SLOTS: u32 = 491520;
/** Those of them that readMarked() tells in one call. */
export const MARKS_OF_A_CALL: u32 = 16384;

/** Of the bits of one group (dirty.ts). */
export const DIRTY_BYTES: u32 = 8192;

/** What the areas bound; HELLO states them as limits. */
export const RECEIVE_BYTES: u32 = 1048576;
export const MAX_OPERATIONS: u32 = 10000;
export const MAX_NAME: u32 = 1024;
export const MAX_CURSOR: u32 = 64;
export const MAX_REASON: u32 = 256;
export const WINDOW: u32 = 1024;

/** Operations of a batch that are looked up together, so that their cache misses overlap. */
export const STAGE: u32 = 64;

/** What one LIST may look at and tell, so that it holds its lane up for a fraction of a millisecond. */
export const LIST_SLOTS: u32 = 4096;
export const LIST_NAMES: u32 = 1024;
export const LIST_BYTES: u32 = 32768;

/** Bytes of names that one body may take away and still tell. */
export const GONE_NAMES_BYTES: u32 = 98304;

/** What the directories bound: entries of each times the items of a segment. */
export const MAX_SLOTS: u32 = 16384 * 4096;
export const MAX_PRODUCERS: u32 = 1024 * 1024;
export const MAX_OPERATION_IDS: u32 = 1024 * 4096;
export const MAX_CLASSES: u32 = 63;
export const MAX_EXPIRIES: u32 = 4096 * 4096;
/** The last millisecond of the year 9999. */
export const MAX_TIME: i64 = 253402300799999;
/** A slot that its last generation leaves is never taken again: an id is a slot and a generation of 16 bits. */
export const LAST_GENERATION: u32 = 65535;
/** Pages that 32 bits can address: at 65,536 the size of the memory in bytes would be 0. */
export const MAX_PAGES: u32 = 65535;

/** Pages that only existing counters and producers may take: new names and producers are refused before. */
export const RESERVED_PAGES: u32 = 16;

// Registers
export const REGISTER_NEXT: u32 = 16; // u32: where the varint that was read last ends
export const REGISTER_ANSWER_LENGTH: u32 = 20; // u32
export const REGISTER_POSITION: u32 = 24; // u64: position of the answer
export const REGISTER_EFFECT: u32 = 32; // i64: the delta that SET or DELETE caused
export const REGISTER_SINK: u32 = 40; // u32: where the sums of prefetching end, so that the loads stay
export const REGISTER_OPERATION_IDS: u32 = 44; // u32: how many operations of the batch carry an id
export const REGISTER_SEQUENCE: u32 = 48; // u64: of the sequence prefix at hand
export const REGISTER_OLDEST: u32 = 56; // u64: the oldest sequence that its client still waits for
export const REGISTER_PAYLOAD: u32 = 64; // u64: hash of what follows the prefix
export const REGISTER_CURSOR: u32 = 72; // u32 address, u32 length
export const REGISTER_BODY: u32 = 80; // u32: where the body goes on after the prefix
export const REGISTER_OPERATIONS: u32 = 84; // u32: operations of the ADD, SEE or ONCE that was applied, whose records are in SCRATCH; else 0
export const REGISTER_EMITTED: u32 = 92; // u32: bytes of the rows in EMITTED
export const REGISTER_STRICT: u32 = 224; // u32: whether the body changed a counter of a strict class
export const REGISTER_WATCHED: u32 = 512; // u32: set by the host where it follows counters: WATCH_MARKS or WATCH_ENTRIES (touched.ts)
export const REGISTER_TOUCHED: u32 = 516; // u32: entries of TOUCHED
export const REGISTER_GONE_BYTES: u32 = 520; // u32: bytes of names that are gone; beyond GONE_NAMES_BYTES some are not told
export const REGISTER_MARKED: u32 = 524; // u32: whether there are new ones in MARKS; cleared by the host
export const REGISTER_DIRTY: u32 = 536; // u32: whether DIRTY is kept
export const REGISTER_LOADED: u32 = 540; // u32: up to which record of an ADD the buckets of new names have been loaded
export const REGISTER_VALUE: u32 = 528; // i64: of the counter that was looked at last
export const REGISTER_LOGGED: u32 = 228; // u32: bytes of the form in which the log has the body that was applied, in RECEIVE; 0 = as it came
export const WHOLE_NAME: u32 = 1024; // a name that is put together, and a word
export const OTHER_NAME: u32 = 2064; // another one
export const PREFETCH: u32 = 3328; // 512 bytes: addresses that a stage will need (prefetch.ts), or what a stage of steps expects (steps.ts)
export const REGISTER_LOGGED_STEPS: u32 = 96; // u32: bytes of LOGGED_STEPS
export const REGISTER_STEPS: u32 = 88; // u32: whether the records of the body at hand are those of steps.ts

/**
 * Header, from HEADER:
 *
 *     0 u32 magic        4 u32 kernel version
 *     8 u64 sequence     of the last body applied
 *    16 u32 next page   20 u32 maximum pages
 *    24 u32 partition   28 u32 partitions
 *    32 u64 key 0       40 u64 key 1         of the index hash; the directory's secret
 *    48 i64 clock       milliseconds that have passed, by the steps of at most an hour between bodies
 *    56 i64 time        milliseconds of the last body
 *    64 u32 slots       68 u32 counters      ever taken; written at least once
 *    72 u32 name next   76 u32 name end      of the page that takes names
 *    80 u32 free page   first of a list linked through the first word; 0 = none
 *    84 u32 free slot + 1   first of a list linked through the value's first word
 *    88 name index (32 B): 100 u32 names   120 producer index (32 B)   152 operation index (32 B)
 *   184 u32 producer entries  188 u32 free producer + 1   192 u32 maximum producers   196 u32 last incarnation
 *   200 u32 expiry hand  204 u32 live producers   208 u32 free small window   212 u32 free cursor
 *   216 i64 producer idle milliseconds   224 i64 operation id milliseconds
 *   232 u32 operation entries  236 u32 free operation + 1   240 u32 oldest + 1   244 u32 newest + 1
 *   248 u32 operation ids live 252 u32 maximum operation ids
 *   256 u64 operations applied  264 u64 operations refused
 *   272 u32 classes            276 u32 their table, 0 or 1
 *   280 u32 tracks             284 u32 hand    a track of the ring of all tracks; 0 = none
 *   288 i64 bytes of windows   296 i64 maximum
 *   304 u32 slots to classify  308 u32 next of them   after a change of the classes; 0 = done
 *   312 u32 expiries       counters that have a time at which they end, or roll over
 *   320 i64 day end        the earliest at which the present day of a class ends; 1 = one is not known, 0 = no class has days
 *   352 u32 sets           356 u32 hand    counters with more than one set of items (sets.ts), and the ring of what they have
 */
export const H_MAGIC: u32 = HEADER;
export const H_VERSION: u32 = HEADER + 4;
export const H_SEQUENCE: u32 = HEADER + 8;
export const H_NEXT_PAGE: u32 = HEADER + 16;
export const H_MAXIMUM_PAGES: u32 = HEADER + 20;
export const H_PARTITION: u32 = HEADER + 24;
export const H_PARTITIONS: u32 = HEADER + 28;
export const H_KEY0: u32 = HEADER + 32;
export const H_KEY1: u32 = HEADER + 40;
export const H_CLOCK: u32 = HEADER + 48;
export const H_TIME: u32 = HEADER + 56;
export const H_SLOTS: u32 = HEADER + 64;
export const H_COUNTERS: u32 = HEADER + 68;
export const H_NAME_NEXT: u32 = HEADER + 72;
export const H_NAME_END: u32 = HEADER + 76;
export const H_FREE_PAGE: u32 = HEADER + 80;
export const H_FREE_SLOT: u32 = HEADER + 84;
export const NAME_INDEX: u32 = HEADER + 88;
export const H_NAMES: u32 = NAME_INDEX + 12;
export const PRODUCER_INDEX: u32 = HEADER + 120;
export const OPERATION_INDEX: u32 = HEADER + 152;
export const H_PRODUCER_ENTRIES: u32 = HEADER + 184;
export const H_FREE_PRODUCER: u32 = HEADER + 188;
export const H_MAXIMUM_PRODUCERS: u32 = HEADER + 192;
export const H_INCARNATION: u32 = HEADER + 196;
export const H_EXPIRY_HAND: u32 = HEADER + 200;
export const H_LIVE_PRODUCERS: u32 = HEADER + 204;
export const H_FREE_WINDOW: u32 = HEADER + 208;
export const H_FREE_CURSOR: u32 = HEADER + 212;
export const H_PRODUCER_IDLE: u32 = HEADER + 216;
export const H_OPERATION_LIFE: u32 = HEADER + 224;
export const H_OPERATION_ENTRIES: u32 = HEADER + 232;
export const H_FREE_OPERATION: u32 = HEADER + 236;
export const H_OLDEST_OPERATION: u32 = HEADER + 240;
export const H_NEWEST_OPERATION: u32 = HEADER + 244;
export const H_OPERATION_IDS: u32 = HEADER + 248;
export const H_MAXIMUM_OPERATION_IDS: u32 = HEADER + 252;
export const H_APPLIED: u32 = HEADER + 256;
export const H_REFUSED: u32 = HEADER + 264;
export const H_CLASSES: u32 = HEADER + 272;
export const H_CLASS_TABLE: u32 = HEADER + 276;
export const H_TRACKS: u32 = HEADER + 280;
export const H_HAND: u32 = HEADER + 284;
export const H_WINDOW_BYTES: u32 = HEADER + 288;
export const H_MAXIMUM_WINDOW_BYTES: u32 = HEADER + 296;
export const H_TO_CLASSIFY: u32 = HEADER + 304;
export const H_CLASSIFIED: u32 = HEADER + 308;
export const H_EXPIRIES: u32 = HEADER + 312;
export const H_DAY_END: u32 = HEADER + 320;
export const H_SETS: u32 = HEADER + 352;
export const H_SETS_HAND: u32 = HEADER + 356;

// Inside the header's page: directories of 1,024 segments each, 514 words for the holes between names (names.ts), the lists of
// free blocks (blocks.ts), the classes (classes.ts).
export const PRODUCER_DIRECTORY: u32 = HEADER + 0x1000;
export const PRODUCER_INDEX_DIRECTORY: u32 = HEADER + 0x2000;
export const OPERATION_DIRECTORY: u32 = HEADER + 0x3000;
export const OPERATION_INDEX_DIRECTORY: u32 = HEADER + 0x4000;
export const NAME_HOLES: u32 = HEADER + 0x5000;
export const FREE_BLOCKS: u32 = HEADER + 0x6000;
export const CLASS_TABLES: u32 = HEADER + 0x7000;
/** 4,096 segments. */
export const EXPIRY_DIRECTORY: u32 = HEADER + 0xb000;
/** 32 of 64 bytes (prefixes.ts). The last 2 KiB of the page are free. */
export const PREFIXES: u32 = HEADER + 0xf000;
export const LOOKS: u32 = PREFIXES + 4;

export const MAGIC: u32 = 0x6b795474; // "Ttyk"
export const KERNEL_VERSION: u32 = 6;

// Kinds of body. Those below 64 are the opcodes of protocol.md.
export const OPEN: u32 = 3;
export const ADD: u32 = 4;
export const SET: u32 = 6;
export const DELETE: u32 = 9;
export const SEE: u32 = 11;
export const MERGE: u32 = 14;
export const EXPIRE: u32 = 16;
export const ONCE: u32 = 17;
export const OPEN_PRODUCER: u32 = 64;
export const TICK: u32 = 65;
export const CONFIGURE: u32 = 66;
export const CLASSIFY: u32 = 67;
export const DAYS: u32 = 68;
export const KEEP: u32 = 69;
export const BRING: u32 = 70;
export const STEPS: u32 = 71;

// Flags of a request (protocol.md)
export const ATOMIC: u32 = 4;
export const VALUES: u32 = 8;
export const SEQUENCED: u32 = 16;

// Statuses (src/errors.ts is the table; a test holds the two together)
export const OK: u32 = 0;
export const ABSENT: u32 = 1;
export const BAD_REQUEST: u32 = 2;
export const UNKNOWN_OPCODE: u32 = 5;
export const WRONG_PARTITION: u32 = 9;
export const TOO_MANY_OPERATIONS: u32 = 10;
export const NAME_INVALID: u32 = 11;
export const ID_UNKNOWN: u32 = 12;
export const OVERFLOW: u32 = 13;
export const OUT_OF_BOUNDS: u32 = 14;
export const EXPECTATION_FAILED: u32 = 15;
export const ATOMIC_ABORTED: u32 = 16;
export const PRODUCER_UNKNOWN: u32 = 17;
export const PRODUCER_FENCED: u32 = 18;
export const PRODUCERS_FULL: u32 = 19;
export const SEQUENCE_GAP: u32 = 20;
export const SEQUENCE_CONFLICT: u32 = 21;
export const WINDOW_EXCEEDED: u32 = 22;
export const ALREADY_APPLIED: u32 = 23;
export const OPERATION_CONFLICT: u32 = 24;
export const OPERATIONS_FULL: u32 = 25;
export const MEMORY_FULL: u32 = 26;
export const OVERLOADED: u32 = 29;
export const NOT_TRACKED: u32 = 35;
export const TIME_TOO_OLD: u32 = 36;
export const TIME_AHEAD: u32 = 37;
export const ITEMS_FULL: u32 = 39;

// What `apply` returns besides OK and the statuses
export const UNCHANGED: u32 = 256; // nothing to log; the answer shows the present
export const DUE: u32 = 258; // a counter is past its time, or a day: ticks come first, and DAYS
export const REPEATED: u32 = 257; // nothing to log; the answer is the kept first one
