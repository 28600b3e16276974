import { CairnError } from "../../base/errors.ts";

/** Questions on one link that await their answers, by what they are about. */
export class Questions<Answer> {
  readonly #open = new Map<string, PromiseWithResolvers<Answer>>();
  #closed = false;

  /**
   * Sends a question about `key` and waits for its answer, for as long as the link lives. Who asks
   * what is being asked already waits for the same answer.
   */
  ask(key: string, send: () => void): Promise<Answer> {
    if (this.#closed) return Promise.reject(linkEnded());
    const open = this.#open.get(key);
    if (open) return open.promise;
    const question = Promise.withResolvers<Answer>();
    this.#open.set(key, question);
    send();
    return question.promise;
  }

  /** Gives the answer about `key` to whoever asked; an answer to no question is dropped. */
  answer(key: string, answer: Answer): void {
    this.#open.get(key)?.resolve(answer);
    this.#open.delete(key);
  }

  /** The link has ended: every open question fails. */
  close(): void {
    this.#closed = true;
    for (const { reject } of this.#open.values()) reject(linkEnded());
    this.#open.clear();
  }
}

/** What a question fails with when its link ends. */
export function linkEnded(): CairnError {
  return new CairnError("closed", "The link to the server ended");
}
