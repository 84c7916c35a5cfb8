import { expect, it } from 'vitest';
import { labelsOf } from './labels.ts';

it('is the name of the entry, with its ServiceDependency where two have the same', () => {
  const entry = (serviceDependency: string, name: string) => ({
    id: `shop/${serviceDependency}/${name}`,
    name,
    serviceDependency,
  });
  const labels = labelsOf([entry('checkout', 'payments'), entry('checkout', 'cart'), entry('refunds', 'payments')]);
  expect([...labels]).toEqual([
    ['shop/checkout/payments', 'checkout/payments'],
    ['shop/checkout/cart', 'cart'],
    ['shop/refunds/payments', 'refunds/payments'],
  ]);
});
