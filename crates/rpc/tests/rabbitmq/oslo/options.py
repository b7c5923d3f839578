"""The names of all options of oslo.messaging's RabbitMQ driver, one a line."""

from oslo_messaging._drivers import amqp, impl_rabbit

options = [*impl_rabbit.rabbit_opts, *amqp.amqp_opts]
print("\n".join(option.dest for option in options))
