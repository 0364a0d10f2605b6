/** What counters that begin anew by themselves must be, told from when they were written: each has one caller, and counts up. */

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Of brief counters. */
const LIFE = { setting: '5m', milliseconds: 300_000 };
/** Hours that the zones of daily counters are ahead of UTC: midnight comes every three. */
const HOURS_AHEAD = [0, 3, 6, 9, 12, -3, -6, -9];
const zoneOf = (hours) => (hours === 0 ? 'UTC' : `Etc/GMT${hours > 0 ? '-' : '+'}${Math.abs(hours)}`);

export const RESTARTING_CLASSES = [
  { pattern: 'brief:*', ttl: LIFE.setting, history: true },
  ...HOURS_AHEAD.map((hours) => ({
    pattern: `daily${hours}:*`,
    rollover: 'daily',
    zone: zoneOf(hours),
    history: true,
  })),
];

/** One of each of these classes. */
export function restartingCounters(name) {
  const daily = HOURS_AHEAD.map((hours) => new DailyCounter(`daily${hours}:${name}`, zoneOf(hours), hours));
  return [new BriefCounter(`brief:${name}`, LIFE.milliseconds), ...daily];
}

/** Of a counter: the lives that it has had, by the answers. */
class RestartingCounter {
  name;
  /** What came of each life: the last answer in it. */
  lives = [];
  /** An increment of which only the answer was lost: whether it was the first of a life is not known from then on. */
  isUncertain = false;
  #lost = 0n;

  constructor(name) {
    this.name = name;
  }

  /** All that was counted. */
  get sum() {
    return this.lives.reduce((sum, value) => sum + value, 0n);
  }

  /**
   * Takes an answer to an increment.
   *
   * @param sent when it was sent, and `answered`, by the server's clock: it was applied between the two
   * @returns whether the server may say that
   */
  took({ sent, answered, delta, value }) {
    const before = this.lives.at(-1) ?? 0n;
    const lost = this.#lost;
    this.#lost = 0n;
    if (lost > 0n) return this.#tookAfterLost({ sent, answered, delta, value, lost, before });
    if (value === before + delta && before > 0n) {
      const isRight = this.mayGoOn(sent);
      this.lives[this.lives.length - 1] = value;
      this.wrote(sent, answered, false);
      return isRight;
    }
    const isRight = value === delta && (before === 0n || this.mayBegin(answered));
    this.lives.push(value);
    this.wrote(sent, answered, true);
    return isRight;
  }

  /** It was applied, and nobody knows what the value was. */
  lost(delta) {
    this.#lost += delta;
    this.isUncertain = true;
  }

  #tookAfterLost({ sent, answered, delta, value, lost, before }) {
    const isOneLife = value === before + lost + delta;
    if (isOneLife) this.lives[Math.max(0, this.lives.length - 1)] = value;
    else if (value === lost + delta) this.lives.push(value);
    else this.lives.push(lost, delta);
    this.wrote(sent, answered, !isOneLife);
    return isOneLife || value === lost + delta || value === delta;
  }
}

/** Of a class with a time to live, which begins with the first increment. */
class BriefCounter extends RestartingCounter {
  #life;
  #beganFrom = 0;
  #beganTo = 0;

  /** @param life milliseconds */
  constructor(name, life) {
    super(name);
    this.#life = life;
  }

  mayGoOn(sent) {
    return sent < this.#beganTo + this.#life;
  }

  mayBegin(answered) {
    return answered >= this.#beganFrom + this.#life;
  }

  wrote(sent, answered, isFirst) {
    if (isFirst) [this.#beganFrom, this.#beganTo] = [sent, answered];
  }

  /** Its history is that of its life, and none when it has ended. */
  async isRight(client, now) {
    const { value } = await client.range(this.name, ALWAYS());
    return value === this.lives.at(-1) || (value === 0n && this.mayBegin(now()));
  }
}

/** Of a class that begins at 0 with every day. */
class DailyCounter extends RestartingCounter {
  #zone;
  #ahead;
  #from = 0;
  #to = 0;

  /** @param hours that the zone is ahead of UTC */
  constructor(name, zone, hours) {
    super(name);
    this.#zone = zone;
    this.#ahead = hours * HOUR;
  }

  mayGoOn(sent) {
    return this.#dayOf(sent) <= this.#dayOf(this.#to);
  }

  mayBegin(answered) {
    return this.#dayOf(answered) > this.#dayOf(this.#from);
  }

  wrote(sent, answered) {
    [this.#from, this.#to] = [sent, answered];
  }

  /** Its history has every day. */
  async isRight(client, now) {
    if (this.isUncertain) return (await client.range(this.name, ALWAYS())).value === this.sum;
    const [from, to] = [now() - 60 * DAY, now() + DAY];
    const { points } = await client.series(this.name, { from, to, step: '1d', zone: this.#zone });
    const days = points.map(({ value }) => value).filter((value) => value);
    return days.join() === this.lives.join();
  }

  #dayOf(time) {
    return Math.floor((time + this.#ahead) / DAY);
  }
}

const ALWAYS = () => ({ from: 0, to: Date.now() + 366 * DAY });
