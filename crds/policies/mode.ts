// The switch that every block of a policy has.
import { z } from 'zod';
import { DOC_DEFAULT } from '../fields.ts';

export const modeWithShadow = z
  .enum(['Enforce', 'Shadow', 'Disabled'])
  .meta({
    description: `Shadow only counts what the block would do, on live traffic and without any effect on it; what is enforced is as if the block were not written here. Disabled switches the block off, also where a policy with a wider target sets it: the only way to do so.`,
    [DOC_DEFAULT]: 'Enforce',
  })
  .optional();
