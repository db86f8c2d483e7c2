/** `client.js` has what `client.d.ts` declares, and declares all that it has. Compiled, not run. */

import { SwitchboardClient as Actual } from '../../../src/page/web/client.js';
import { SwitchboardClient as Declared } from '../../../src/wire/contract/client.js';

/** Methods whose declarations are narrower than those of EventTarget. */
type Listening = 'addEventListener' | 'removeEventListener';

/** Every other public member is as declared. */
export const instance = (client: Actual): Omit<Declared, Listening> => client;

/** So are the parameters of the constructor. */
export const construct = (
  ...parameters: ConstructorParameters<typeof Declared>
): ConstructorParameters<typeof Actual> => parameters;

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;

/** No public member is missing in the declarations, and none is declared that does not exist. */
export const members: Same<keyof Actual, keyof Declared> = true;
/** Options that the constructor takes. */
type Options<C extends abstract new (...parameters: never) => unknown> = NonNullable<
  ConstructorParameters<C>[1]
>;
export const options: Same<
  keyof Options<typeof Actual>,
  keyof Options<typeof Declared>
> = true;
