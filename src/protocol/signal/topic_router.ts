/** Bounds of a {@linkcode TopicRouter}. */
export interface RouterLimits {
  readonly topicsPerListener: number;
  readonly listenersPerTopic: number;
}

/** Hears when a topic gets its first listener, and when its last one has gone. */
export interface TopicWatcher {
  opened(topic: string): void;
  emptied(topic: string): void;
}

/**
 * Who listens to which topic. A listener is any object that stands for a connection; the router
 * keeps nothing else and no topic without a listener.
 */
export class TopicRouter<Listener> {
  readonly #limits: RouterLimits;
  readonly #watcher: TopicWatcher | undefined;
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #topics = new Map<Listener, Set<string>>();

  constructor(limits: RouterLimits, watcher?: TopicWatcher) {
    this.#limits = limits;
    this.#watcher = watcher;
  }

  /** Number of topics that somebody listens to. */
  get topicCount(): number {
    return this.#listeners.size;
  }

  /** Returns which bound, if any, kept `listener` from the topic. Repeating it does nothing. */
  subscribe(listener: Listener, topic: string): "subscribed" | "too-many-topics" | "topic-full" {
    const topics = this.#topics.get(listener) ?? new Set();
    if (topics.has(topic)) return "subscribed";
    if (topics.size >= this.#limits.topicsPerListener) return "too-many-topics";
    const listeners = this.#listeners.get(topic) ?? new Set();
    if (listeners.size >= this.#limits.listenersPerTopic) return "topic-full";
    this.#topics.set(listener, topics.add(topic));
    this.#listeners.set(topic, listeners.add(listener));
    if (listeners.size === 1) this.#watcher?.opened(topic);
    return "subscribed";
  }

  unsubscribe(listener: Listener, topic: string): void {
    const topics = this.#topics.get(listener);
    if (!topics?.delete(topic)) return;
    if (topics.size === 0) this.#topics.delete(listener);
    this.#forget(listener, topic);
  }

  /** Everybody who listens to `topic` but `sender`, who need not listen, nor be here, itself. */
  *relay(sender: Listener | undefined, topic: string): Generator<Listener, void> {
    for (const listener of this.#listeners.get(topic) ?? []) {
      if (listener !== sender) yield listener;
    }
  }

  /** Takes a listener from all its topics; costs only those. */
  remove(listener: Listener): void {
    for (const topic of this.#topics.get(listener) ?? []) this.#forget(listener, topic);
    this.#topics.delete(listener);
  }

  #forget(listener: Listener, topic: string): void {
    const listeners = this.#listeners.get(topic);
    listeners?.delete(listener);
    if (listeners?.size !== 0) return;
    this.#listeners.delete(topic);
    this.#watcher?.emptied(topic);
  }
}
