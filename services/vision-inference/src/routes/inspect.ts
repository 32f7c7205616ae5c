import type { VisionRoute } from '../context.ts';
import { inspect as inspectImage } from '../inspection/inspect.ts';

export const inspect: VisionRoute<'inspect'> = (context) => async (request, call) => ({
  report: await inspectImage(context, request, call),
});
