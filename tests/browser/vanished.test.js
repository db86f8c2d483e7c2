/** Partners whose machine freezes or dies during a call. Both engines run at the same time, because the tests mostly wait. */

import { describe, test } from 'node:test';
import { ENGINES, openBrowser } from './lib/engine.js';
import { runServerAndBrowser } from './lib/running.js';
import { Visitor } from './lib/visitor.js';

describe('a partner who vanishes', { concurrency: true, timeout: 180_000 }, () => {
  for (const engine of ENGINES) describe(`in ${engine}`, { concurrency: false }, () => {
    const running = runServerAndBrowser({ engine });

    for (const [how, act] of [['freezes', 'freeze'], ['dies', 'kill']]) {
      test(`because its machine ${how} is noticed, and another can be found`, async () => {
        const other = await openBrowser({ engine });
        try {
          const ann = await Visitor.arrive(running.browser, running.server.url);
          const ben = await Visitor.arrive(other.browser, running.server.url);
          await Promise.all([ann, ben].map((visitor) => visitor.start()));
          await Promise.all([ann, ben].map((visitor) => visitor.reaches('talking')));
          other[act]();
          await ann.reaches('ended', 60_000);
          await ann.reads('headline', /gone|lost/);
          await ann.press('next');
          await ann.reaches('searching');
          await ann.leave();
        } finally {
          if (act === 'freeze') other.thaw();
          await other.close();
        }
      });
    }
  });
});
